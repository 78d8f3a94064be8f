//! Who owns which field.

pub(crate) mod managed;
