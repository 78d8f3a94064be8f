//! `myelin schema [KIND]`: the documents as JSON Schemas, for editors and for pipelines without Myelin.

use crate::configuration;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use myelin_engine::document::{DocumentKind, json_schema, json_schema_of_all};
use serde_json::Value;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which schema: of one kind of document, of a file with documents of all kinds, or of the configuration of `myelin run`.
    #[arg(default_value = "document")]
    kind: Kind,
    /// Write all of them into this folder instead.
    #[arg(long, value_name = "DIR", conflicts_with = "kind")]
    write: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Document,
    Stack,
    #[value(name = "provisioningtoken")]
    ProvisioningToken,
    #[value(name = "nodepool")]
    NodePool,
    Configuration,
}

impl Kind {
    fn schema(self) -> Value {
        match self {
            Self::Document => json_schema_of_all(),
            Self::Stack => json_schema(DocumentKind::Stack),
            Self::ProvisioningToken => json_schema(DocumentKind::ProvisioningToken),
            Self::NodePool => json_schema(DocumentKind::NodePool),
            Self::Configuration => configuration::json_schema(),
        }
    }

    fn text(self) -> String {
        let mut text = format!("{:#}", self.schema());
        text.push('\n');
        text
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Some(folder) = &arguments.write else {
        print!("{}", arguments.kind.text());
        return Ok(());
    };
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    for kind in Kind::value_variants() {
        let name = kind
            .to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default();
        let file = folder.join(format!("{name}.json"));
        std::fs::write(&file, kind.text()).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}
