//! Wire definitions of the Terraform plugin protocol. Holds no logic.
