//! Kustomizations for `bench render`, generated on the spot and the same on every machine.

use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Documents of the wide tree.
pub(crate) const DOCUMENTS: usize = 4_000;
/// Overlays of the deep chain, each on the one before.
pub(crate) const DEPTH: usize = 60;
/// Overlays over one small base.
pub(crate) const OVERLAYS: usize = 300;

const HEAD: &str = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";

/// A root over 50 folders of 80 documents each, with a namespace, labels, and images at the root.
pub(crate) fn wide(folder: &Path) -> Result<PathBuf> {
    let (folders, each) = (50, DOCUMENTS / 50);
    let mut root = format!(
        "{HEAD}namespace: bench\nlabels:\n  - pairs: {{app.kubernetes.io/part-of: bench}}\nimages:\n  - {{name: example/web, newTag: v2}}\n\
         resources:\n"
    );
    for number in 0..folders {
        writeln!(root, "  - part-{number:02}").context("write to a string")?;
        let mut text = String::new();
        for document in 0..each {
            text.push_str(&document_of(number * each + document));
        }
        put(&folder.join(format!("part-{number:02}/objects.yaml")), &text)?;
        put(
            &folder.join(format!("part-{number:02}/kustomization.yaml")),
            &format!("{HEAD}resources: [objects.yaml]\n"),
        )?;
    }
    put(&folder.join("kustomization.yaml"), &root)?;
    Ok(folder.to_path_buf())
}

/// Twenty documents under a chain of overlays that each add a label and patch one object; the last one is returned.
pub(crate) fn deep(folder: &Path) -> Result<PathBuf> {
    let base: String = (0..20).map(document_of).collect();
    put(&folder.join("level-00/objects.yaml"), &base)?;
    put(
        &folder.join("level-00/kustomization.yaml"),
        &format!("{HEAD}resources: [objects.yaml]\n"),
    )?;
    for level in 1..=DEPTH {
        let text = format!(
            "{HEAD}resources: [../level-{:02}]\nlabels:\n  - pairs: {{level-{level:02}: \"yes\"}}\npatches:\n  - patch: |-\n      \
             apiVersion: apps/v1\n      kind: Deployment\n      metadata: {{name: web-00003}}\n      spec:\n        template:\n          \
             spec:\n            containers:\n              - name: web\n                env:\n                  - {{name: LEVEL_{level}, value: \"{level}\"}}\n",
            level - 1
        );
        put(&folder.join(format!("level-{level:02}/kustomization.yaml")), &text)?;
    }
    Ok(folder.join(format!("level-{DEPTH:02}")))
}

/// Overlays of four documents each: a name prefix, a replica count, an image and a generated ConfigMap.
pub(crate) fn overlays(folder: &Path) -> Result<Vec<PathBuf>> {
    let base: String = (0..4).map(document_of).collect();
    put(&folder.join("base/objects.yaml"), &base)?;
    put(
        &folder.join("base/kustomization.yaml"),
        &format!("{HEAD}resources: [objects.yaml]\n"),
    )?;
    (0..OVERLAYS)
        .map(|number| {
            let overlay = folder.join(format!("tenant-{number:03}"));
            let text = format!(
                "{HEAD}namePrefix: t{number}-\nnamespace: tenant-{number}\nresources: [../base]\nreplicas:\n  - {{name: web-00003, count: {}}}\n\
                 images:\n  - {{name: example/web, newTag: v{number}}}\nconfigMapGenerator:\n  - name: tenant\n    literals: [number={number}]\n",
                number % 5
            );
            put(&overlay.join("kustomization.yaml"), &text)?;
            Ok(overlay)
        })
        .collect()
}

/// Of every four: a ConfigMap, a Service, a ServiceAccount and a Deployment.
fn document_of(number: usize) -> String {
    match number % 4 {
        0 => format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings-{number:05}\ndata:\n  number: \"{number}\"\n  \
             settings.yaml: |\n    log:\n      level: info\n    listen: 0.0.0.0:8080\n"
        ),
        1 => format!(
            "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: web-{number:05}\nspec:\n  selector:\n    app: web-{number:05}\n  \
             ports:\n  - name: http\n    port: 80\n    targetPort: 8080\n"
        ),
        2 => format!("---\napiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: web-{number:05}\n"),
        _ => format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web-{number:05}\nspec:\n  replicas: 2\n  selector:\n    \
             matchLabels:\n      app: web-{number:05}\n  template:\n    metadata:\n      labels:\n        app: web-{number:05}\n    spec:\n      \
             containers:\n      - name: web\n        image: example/web:v1\n        ports:\n        - containerPort: 8080\n        env:\n        \
             - name: NUMBER\n          value: \"{number}\"\n        resources:\n          limits:\n            memory: 64Mi\n"
        ),
    }
}

fn put(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(file, text).with_context(|| format!("write {}", file.display()))
}
