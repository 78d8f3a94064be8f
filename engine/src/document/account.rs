//! `serviceAccount` of a document: the account that a reconciler uses for it. The configuration decides whether that is
//! allowed, not the document.

use super::fields::Fields;
use super::stack::is_label;
use crate::diagnostic::Diagnostics;

/// `NAME`, of the document's own namespace, or `NAMESPACE/NAME`; answers the latter.
pub(super) fn read_account(spec: &mut Fields<'_>, namespace: &str, p: &mut Diagnostics) -> Option<String> {
    let text = spec.text("serviceAccount", p)?;
    let account = if text.contains('/') {
        text.clone()
    } else {
        format!("{namespace}/{text}")
    };
    // An empty one must never mean: with other rights.
    let is_good = account
        .split_once('/')
        .is_some_and(|(namespace, name)| is_label(namespace) && !name.is_empty() && name.split('.').all(is_label));
    if !is_good {
        let fix = "write the name of an account of the document's namespace, or NAMESPACE/NAME";
        spec.problem("serviceAccount", format!("\"{text}\" is no service account"), fix, p);
    }
    is_good.then_some(account)
}
