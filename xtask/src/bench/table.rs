//! The bench's report: a title, and rows of a label and its figures, aligned.

/// A block of the report.
pub(crate) struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    /// A block with its columns.
    pub(crate) fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self {
            title: title.into(),
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, label: impl Into<String>, figures: Vec<String>) {
        self.rows.push((label.into(), figures));
    }

    /// Prints the block.
    pub(crate) fn print(&self) {
        print!("{self}");
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let label_width = self
            .rows
            .iter()
            .map(|(label, _)| label.chars().count())
            .max()
            .unwrap_or(0);
        let width = |column: usize| {
            let figures = self
                .rows
                .iter()
                .filter_map(|(_, figures)| figures.get(column))
                .map(|text| text.chars().count());
            figures.chain([self.columns[column].chars().count()]).max().unwrap_or(0)
        };
        write!(f, "\n{}\n  {:label_width$}", self.title, "")?;
        for (column, name) in self.columns.iter().enumerate() {
            write!(f, "  {name:>width$}", width = width(column))?;
        }
        writeln!(f)?;
        for (label, figures) in &self.rows {
            write!(f, "  {label:label_width$}")?;
            for (column, figure) in figures.iter().enumerate().take(self.columns.len()) {
                write!(f, "  {figure:>width$}", width = width(column))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Seconds with two decimals.
pub(crate) fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}

/// Milliseconds with one decimal.
pub(crate) fn milliseconds(milliseconds: f64) -> String {
    format!("{milliseconds:.1} ms")
}

/// MiB with one decimal, or a dash where it could not be measured.
pub(crate) fn mebibytes(mib: Option<f64>) -> String {
    mib.map_or_else(|| "-".to_owned(), |mib| format!("{mib:.1} MiB"))
}

/// CPU seconds, or a dash where they could not be measured.
pub(crate) fn cpu(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_under_their_column() {
        let mut table = Table::new("apply", &["wall", "cpu"]);
        table.row("kubectl", vec!["12.00 s".to_owned(), cpu(Some(3.0))]);
        table.row("raw", vec![seconds(1.5), cpu(None)]);
        assert_eq!(
            table.to_string(),
            "\napply\n              wall     cpu\n  kubectl  12.00 s  3.00 s\n  raw       1.50 s       -\n"
        );
    }
}
