//! The reference docs in the layout that the Terraform registry renders: written from the schemas and the examples, never by
//! hand.

use std::io;
use std::path::Path;

use crate::configuration;
use crate::data::DataSource as _;
use crate::data::nodes::Nodes;
use crate::ephemeral::Ephemeral as _;
use crate::ephemeral::secret::SecretValue;
use crate::resource::Resource as _;
use crate::resource::node_pool::PoolResource;
use crate::resource::provisioning_token::TokenResource;
use crate::resource::stack::StackResource;
use crate::schema::{Page, markdown};

/// Writes every page under that folder.
///
/// # Errors
/// If a file cannot be written.
pub fn write(folder: &Path) -> io::Result<()> {
    for (file, text) in pages() {
        let path = folder.join(file);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, text)?;
    }
    Ok(())
}

fn pages() -> Vec<(&'static str, String)> {
    let stack = StackResource::default();
    let provider = Page {
        title: "Myelin",
        kind: "Provider",
        example: Some(include_str!("../../examples/provider/provider.tf")),
        import: None,
    };
    let import = format!(
        "By id:\n\n```shell\n{}```\n\nBy identity, from Terraform 1.12 on:\n\n```terraform\n{}```\n\nAn import knows \
         the objects, but not where their manifests are: the first plan after it shows `source` and the other inputs \
         as added, and applying it sends nothing.",
        include_str!("../../examples/resources/myelin_stack/import.sh"),
        include_str!("../../examples/resources/myelin_stack/import-by-identity.tf"),
    );
    let page = Page {
        title: "myelin_stack",
        kind: "Resource",
        example: Some(include_str!("../../examples/resources/myelin_stack/resource.tf")),
        import: Some(&import),
    };
    let token = TokenResource::default();
    let token_import = format!(
        "By id:\n\n```shell\n{}```\n\nBy identity, from Terraform 1.12 on:\n\n```terraform\n{}```\n\nNothing is minted by an \
         import or by the apply after it: the value in the Secret is the token's from then on. A value that no token made is \
         never deleted by a destroy.",
        include_str!("../../examples/resources/myelin_provisioning_token/import.sh"),
        include_str!("../../examples/resources/myelin_provisioning_token/import-by-identity.tf"),
    );
    let token_page = Page {
        title: "myelin_provisioning_token",
        kind: "Resource",
        example: Some(include_str!(
            "../../examples/resources/myelin_provisioning_token/resource.tf"
        )),
        import: Some(&token_import),
    };
    let pool = PoolResource::default();
    let pool_import = format!(
        "By id:\n\n```shell\n{}```\n\nBy identity, from Terraform 1.12 on:\n\n```terraform\n{}```\n\nAn import finds \
         the nodes by their tags. The first plan after it shows the inputs as added; nodes that match the \
         specification stay.",
        include_str!("../../examples/resources/myelin_node_pool/import.sh"),
        include_str!("../../examples/resources/myelin_node_pool/import-by-identity.tf"),
    );
    let pool_page = Page {
        title: "myelin_node_pool",
        kind: "Resource",
        example: Some(include_str!("../../examples/resources/myelin_node_pool/resource.tf")),
        import: Some(&pool_import),
    };
    let nodes = Nodes::default();
    let nodes_page = Page {
        title: "myelin_nodes",
        kind: "Data Source",
        example: Some(include_str!("../../examples/data-sources/myelin_nodes/data-source.tf")),
        import: None,
    };
    let secret = SecretValue::default();
    let secret_page = Page {
        title: "myelin_secret",
        kind: "Ephemeral Resource",
        example: Some(include_str!(
            "../../examples/ephemeral-resources/myelin_secret/ephemeral-resource.tf"
        )),
        import: None,
    };
    vec![
        ("index.md", markdown(provider, &configuration::schema(), None)),
        (
            "resources/stack.md",
            markdown(page, stack.schema(), Some(stack.identity())),
        ),
        (
            "resources/provisioning_token.md",
            markdown(token_page, token.schema(), Some(token.identity())),
        ),
        (
            "resources/node_pool.md",
            markdown(pool_page, pool.schema(), Some(pool.identity())),
        ),
        ("data-sources/nodes.md", markdown(nodes_page, nodes.schema(), None)),
        (
            "ephemeral-resources/secret.md",
            markdown(secret_page, secret.schema(), None),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_has_its_line_and_every_link_its_anchor() {
        for (file, text) in pages() {
            assert!(text.starts_with("---\npage_title: "), "{file}");
            assert!(!text.contains("\n\n\n"), "{file} has a hole");
            for link in text.split("(#").skip(1) {
                let anchor = link.split(')').next().unwrap();
                assert!(text.contains(&format!("<a id=\"{anchor}\"></a>")), "{file}: {anchor}");
            }
        }
        let (_, stack) = pages().remove(1);
        for attribute in &StackResource::default().schema().attributes {
            assert!(
                stack.contains(&format!("- `{}` (", attribute.name)),
                "{}",
                attribute.name
            );
        }
    }

    #[test]
    fn the_committed_docs_are_the_generated_ones() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        for (file, text) in pages() {
            let committed = std::fs::read_to_string(docs.join(file)).unwrap_or_default();
            assert_eq!(
                committed, text,
                "docs/{file} is stale: terraform-provider-myelin --docs docs"
            );
        }
    }
}
