//! A *table* is rows of cells in columns, for people.

use hookhost_helm::text::printable;

/// Characters of a cell: more than nearly all names. What is longer is whole in the JSON.
const MAX_CELL_CHARS: usize = 120;

/// Columns two blanks apart, as wide as their widest cell; the last as it comes.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds a row. Cells may have come from a record: none can steer a terminal.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| cut(&printable(&cell))).collect());
    }

    /// The table as text, with an empty line before the last `sums` rows.
    pub(super) fn render(&self, sums: usize) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for (n, row) in self.rows.iter().enumerate() {
            if sums > 0 && n + sums == self.rows.len() {
                text.push('\n');
            }
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

fn cut(cell: &str) -> String {
    match cell.char_indices().nth(MAX_CELL_CHARS) {
        Some((at, _)) => format!("{}…", &cell[..at]),
        None => cell.to_owned(),
    }
}
