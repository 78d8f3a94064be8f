//! The owner of a pool: a tag of its launch templates, so that a steady-state look costs no further request.
//!
//! Front ends that share a pool would fight, so a second one is refused here; [`hand_over_pool`] moves a pool from one
//! to the other. A pool without templates has no nodes and belongs to whoever launches first.

use super::identity::{PoolId, TAG_CLUSTER, TAG_POOL};
use super::observe::{cloud_problem, whole};
use crate::cloud::{Cloud, LaunchTemplate, TagFilter, Tags};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::record::Owner;
use std::collections::BTreeSet;

/// `terraform`, or `git:` and the name of a source.
pub const TAG_OWNER: &str = "myelin.dev:owner";

/// The tag that records an owner.
pub(super) fn tag(owner: &Owner) -> (String, String) {
    (TAG_OWNER.to_owned(), owner.to_string())
}

/// The recorded owner; after a partial hand-over the youngest template decides.
pub(super) fn of_templates(templates: &[LaunchTemplate]) -> Option<Owner> {
    templates
        .iter()
        .filter_map(|t| Some((t.created_at, t.tags.get(TAG_OWNER)?.parse().ok()?)))
        .max_by_key(|(at, _): &(_, Owner)| *at)
        .map(|(_, owner)| owner)
}

/// Why this front end may not act, if another one owns the pool.
pub(super) fn refusal(id: &PoolId, noted: Option<&Owner>, acting: Option<&Owner>) -> Option<Diagnostic> {
    let (noted, acting) = (noted?, acting?);
    (noted != acting).then(|| {
        Diagnostic::error(format!("pool {id} belongs to {noted}, not to {acting}"))
            .detail("nothing was launched or ended; hand it over first: myelin hand-over --pool")
    })
}

/// Gives a pool to another owner. No node is touched. Returns the previous owner; None if the pool has no launch
/// template and so no owner.
///
/// # Errors
/// When the cloud refuses or does not answer.
pub async fn hand_over_pool(cloud: &dyn Cloud, id: &PoolId, to: &Owner) -> Result<Option<Owner>, Diagnostics> {
    let what = format!("launch templates of pool {id}");
    let templates = whole(&what, cloud.templates(&id.filters()).await)?;
    let from = of_templates(&templates);
    let ids: Vec<String> = templates.into_iter().map(|t| t.id).collect();
    if ids.is_empty() {
        return Err(Diagnostic::error(format!("there is no pool {id} in this region"))
            .detail("it has no launch template: nothing was launched yet, so whoever launches first has it")
            .into());
    }
    let tags = Tags::from([tag(to)]);
    cloud
        .create_tags(&ids, &tags)
        .await
        .map_err(|e| cloud_problem(format!("pool {id} cannot be given to {to}"), &e))?;
    Ok(from)
}

/// The pools that an owner has: one list.
///
/// # Errors
/// When the cloud refuses, does not answer or answers in part.
pub async fn pools_of(cloud: &dyn Cloud, owner: &Owner) -> Result<BTreeSet<PoolId>, Diagnostics> {
    let filters = [TagFilter {
        key: TAG_OWNER.to_owned(),
        values: vec![owner.to_string()],
    }];
    let templates = whole(&format!("pools of {owner}"), cloud.templates(&filters).await)?;
    let pool = |t: &LaunchTemplate| {
        Some(PoolId {
            cluster: t.tags.get(TAG_CLUSTER)?.clone(),
            name: t.tags.get(TAG_POOL)?.clone(),
        })
    };
    Ok(templates.iter().filter_map(pool).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn template(at: i64, owner: Option<&str>) -> LaunchTemplate {
        LaunchTemplate {
            id: format!("lt-{at}"),
            name: String::new(),
            latest_version: 1,
            tags: owner
                .map(|o| (TAG_OWNER.to_owned(), o.to_owned()))
                .into_iter()
                .collect(),
            created_at: Timestamp::from_second(at).unwrap(),
        }
    }

    #[test]
    fn the_youngest_note_counts_and_only_another_owner_is_refused() {
        let git = Owner::Git("main".into());
        let all = [
            template(1, Some("terraform")),
            template(3, None),
            template(2, Some("git:main")),
        ];
        assert_eq!(of_templates(&all), Some(git.clone()));
        assert_eq!(of_templates(&all[1..2]), None);
        let id = PoolId {
            cluster: "c".into(),
            name: "p".into(),
        };
        for (noted, acting, refused) in [
            (Some(&git), Some(&Owner::Terraform), true),
            (Some(&git), Some(&git), false),
            (None, Some(&git), false),
            (Some(&git), None, false),
        ] {
            assert_eq!(refusal(&id, noted, acting).is_some(), refused, "{noted:?} {acting:?}");
        }
    }
}
