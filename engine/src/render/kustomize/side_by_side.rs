//! Runs the same work on several items in parallel, if there are enough of them. Starting and waking threads takes a
//! millisecond or two, as long as a whole small kustomization.

use rayon::prelude::*;

/// `work` on every item, in the order of the items; on all cores from `enough` items on.
pub(super) fn map<T: Send, R: Send>(items: Vec<T>, enough: usize, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    if items.len() < enough {
        return items.into_iter().map(work).collect();
    }
    items.into_par_iter().map(work).collect()
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn the_order_is_that_of_the_items_whether_they_are_few_or_many() {
        for count in [0_usize, 1, 7, 8, 500] {
            let doubled = map((0..count).collect(), 8, |n: usize| n * 2);
            assert_eq!(doubled, (0..count).map(|n| n * 2).collect::<Vec<_>>());
        }
    }
}
