//! An embedded Kubernetes API for demos and tests. It is a test double and says so.
