//! Custom resources: pruning, defaults and rules by their own schemas, and the definitions themselves. A schema is read as it
//! was written (`openAPIV3Schema`); the types that apply and watches need are made of it in `schema`.

pub(super) mod defaulting;
pub(super) mod prune;
