//! Refinements: what is already certain about an unknown value: that it is not null, its prefix, its length.
//!
//! We keep the encoded form and return it unchanged if Terraform gave it to us: that is the only honest thing to do
//! with somebody else's promise. We make none ourselves.

/// The refinements of one unknown value, as Terraform encoded them.
#[derive(Debug, Clone, Default)]
pub struct Refinements(Option<Box<[u8]>>);

impl Refinements {
    /// Nothing is certain.
    pub const NONE: Refinements = Refinements(None);

    /// Terraform's own limit on the encoded form.
    pub const MAX_BYTES: usize = 1024;

    /// Keeps an encoded form; anything but a msgpack map of at most [`Self::MAX_BYTES`] counts as no refinement.
    pub fn from_wire(body: &[u8]) -> Refinements {
        let is_map = body
            .first()
            .is_some_and(|marker| matches!(marker, 0x81..=0x8f | 0xde | 0xdf));
        Refinements((is_map && body.len() <= Self::MAX_BYTES).then(|| body.into()))
    }

    /// The encoded form, if anything is certain.
    pub fn as_wire(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

/// Two unknowns are equal for Terraform's rules whatever is certain about them.
impl PartialEq for Refinements {
    fn eq(&self, _: &Refinements) -> bool {
        true
    }
}
