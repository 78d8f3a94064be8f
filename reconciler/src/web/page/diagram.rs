//! A stack's components as a drawing: each in the column of its depth, with arrows from its predecessors. The page has
//! the same information as text, so for screen readers the drawing is one labelled image, and each box links to its
//! component.

use super::{anchor, class};
use crate::tree::ComponentNode;
use maud::{Markup, html};
use std::collections::BTreeMap;

const WIDTH: usize = 168;
const HEIGHT: usize = 48;
const GAP: usize = 56;
const SPACE: usize = 16;
/// Letters of a name that a box has room for.
const LETTERS: usize = 19;
/// More components than this are a list, not a picture.
const MOST: usize = 60;

pub(super) fn components(all: &[ComponentNode]) -> Markup {
    if all.len() > MOST {
        return html! {};
    }
    let places = places(all);
    let columns = places.values().map(|place| place.0 + 1).max().unwrap_or(0);
    let rows = places.values().map(|place| place.1 + 1).max().unwrap_or(0);
    let (width, height) = (columns * (WIDTH + GAP) - GAP + 4, rows * (HEIGHT + SPACE) - SPACE + 4);
    let at = |place: &(usize, usize)| (place.0 * (WIDTH + GAP) + 2, place.1 * (HEIGHT + SPACE) + 2);
    let arrows = all.iter().flat_map(|component| {
        let to = places.get(component.name.as_str()).map(at);
        let from = |name: &String| Some((at(places.get(name.as_str())?), to?));
        component.after.iter().filter_map(from).collect::<Vec<_>>()
    });
    html! {
        svg viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="group" aria-label="Components and what comes before them; the same follows as a list" {
            defs {
                marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto" { path d="M0 0 8 4 0 8z" {} }
            }
            @for ((from_x, from_y), (to_x, to_y)) in arrows {
                @let (start, end) = (from_x + WIDTH, to_x.saturating_sub(2));
                @let (y1, y2) = (from_y + HEIGHT / 2, to_y + HEIGHT / 2);
                path marker-end="url(#tip)" d={ "M" (start) " " (y1) " C" (start + GAP / 2) " " (y1) " " (end.saturating_sub(GAP / 2)) " " (y2) " " (end) " " (y2) } {}
            }
            @for component in all {
                @if let Some((x, y)) = places.get(component.name.as_str()).map(at) {
                    a href={ "#" (anchor(component)) } class=(class(&component.state)) {
                        title { (name(component)) ": " (component.state) }
                        rect x=(x) y=(y) width=(WIDTH) height=(HEIGHT) {}
                        text x=(x + 12) y=(y + 20) { (cut(name(component))) }
                        text.word x=(x + 12) y=(y + 38) { (cut(&component.state)) }
                    }
                }
            }
        }
    }
}

fn name(component: &ComponentNode) -> &str {
    if component.name.is_empty() {
        "base"
    } else {
        &component.name
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LETTERS {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LETTERS - 1).collect();
    short.push('\u{2026}');
    short
}

/// Column and row of each component. The base, which comes before all, is in a column of its own.
fn places(all: &[ComponentNode]) -> BTreeMap<&str, (usize, usize)> {
    let base = usize::from(all.iter().any(|component| component.name.is_empty()));
    let mut depth: BTreeMap<&str, usize> = all
        .iter()
        .map(|component| {
            (
                component.name.as_str(),
                if component.name.is_empty() { 0 } else { base },
            )
        })
        .collect();
    // As many turns as the longest chain has links; a record with a circle, which no plan makes, ends all the same.
    for _ in all {
        for component in all {
            let before = component.after.iter().filter_map(|name| depth.get(name.as_str())).max();
            if let Some(before) = before.map(|before| (before + 1).min(all.len()))
                && let Some(own) = depth.get_mut(component.name.as_str())
            {
                *own = before.max(*own);
            }
        }
    }
    let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
    all.iter()
        .filter_map(|component| {
            let column = *depth.get(component.name.as_str())?;
            let row = rows.entry(column).or_default();
            *row += 1;
            Some((component.name.as_str(), (column, *row - 1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str, after: &[&str]) -> ComponentNode {
        ComponentNode {
            name: name.to_owned(),
            state: "ready".to_owned(),
            after: after.iter().map(|name| (*name).to_owned()).collect(),
            objects: Vec::new(),
        }
    }

    #[test]
    fn a_component_stands_right_of_everything_that_it_comes_after() {
        let all = [
            component("", &[]),
            component("cortex", &["aha", "axon"]),
            component("axon", &["aha"]),
            component("aha", &[]),
        ];
        let places = places(&all);
        let columns: Vec<usize> = ["", "aha", "axon", "cortex"]
            .iter()
            .map(|name| places[name].0)
            .collect();
        assert_eq!(columns, [0, 1, 2, 3]);
    }

    #[test]
    fn a_circle_ends() {
        let places_of = [component("a", &["b"]), component("b", &["a"])];
        assert_eq!(places(&places_of).len(), 2);
    }
}
