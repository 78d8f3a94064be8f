//! Checks on the repository's Markdown: every relative link leads to a file, every fenced block is closed.
//!
//! It does not check prose, spelling or links that leave the repository.

use crate::repository;
use anyhow::Result;
use std::path::{Component, Path, PathBuf};

/// Problems of all Markdown files, each with its file and line.
pub(crate) fn problems() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in repository::files()? {
        if file.extension().is_some_and(|extension| extension == "md")
            && let Some(text) = repository::text(&file)?
        {
            problems.extend(problems_of(&file, &text, |target| {
                repository::root().join(target).exists()
            }));
        }
    }
    Ok(problems)
}

fn problems_of(file: &Path, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    let mut fence_opened_at = None;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fence_opened_at = if fence_opened_at.is_some() {
                None
            } else {
                Some(index + 1)
            };
        } else if fence_opened_at.is_none() {
            for link in relative_links(line) {
                let folder = file.parent().unwrap_or_else(|| Path::new(""));
                match resolve(folder, link) {
                    Some(target) if exists(&target) => {}
                    _ => problems.push(format!(
                        "{}:{}: the link to {link} leads nowhere",
                        file.display(),
                        index + 1
                    )),
                }
            }
        }
    }
    if let Some(line) = fence_opened_at {
        problems.push(format!("{}:{line}: the code block is never closed", file.display()));
    }
    problems
}

/// The targets of `[text](target)` in one line, without anchors; absolute URLs and pure anchors are left out.
fn relative_links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', ' ']).next()?;
        let path = target.split('#').next()?;
        (!path.is_empty() && !path.contains("://") && !path.starts_with("mailto:")).then_some(path)
    })
}

/// `folder/link` without `.` and `..`; `None` when it climbs out of the repository.
fn resolve(folder: &Path, link: &str) -> Option<PathBuf> {
    let mut resolved = PathBuf::new();
    for component in folder.join(link).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !resolved.pop() {
                    return None;
                }
            }
            Component::Normal(name) => resolved.push(name),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_link_is_reported_with_its_line_and_a_live_one_is_not() {
        let text = "see [a](a.md#part) and [b](../b.md)\n\n[web](https://example.com/x.md) [here](#here)\n";
        let exists = |path: &Path| path == Path::new("docs/a.md");
        assert_eq!(
            problems_of(Path::new("docs/index.md"), text, exists),
            ["docs/index.md:1: the link to ../b.md leads nowhere"]
        );
    }

    #[test]
    fn code_blocks_are_not_searched_for_links_but_must_end() {
        let text = "```\n[a](missing.md)\n```\n```text\nopen\n";
        assert_eq!(
            problems_of(Path::new("README.md"), text, |_| false),
            ["README.md:4: the code block is never closed"]
        );
    }

    #[test]
    fn a_link_out_of_the_repository_leads_nowhere() {
        assert_eq!(problems_of(Path::new("README.md"), "[up](../x.md)", |_| true).len(), 1);
    }
}
