//! A *table* is rows of cells in columns, for people.

use comfy_table::presets::NOTHING;
use hookhost_helm::text::printable;

/// Characters of a cell: more than nearly all names. What is longer is whole in the JSON.
const MAX_CELL_CHARS: usize = 120;

/// Columns two blanks apart, as wide as their widest cell; the last as it comes.
#[derive(Default)]
pub(super) struct Table(comfy_table::Table);

impl Table {
    /// Adds a row. Cells may have come from a record: none can steer a terminal.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| cut(&printable(&cell))));
    }

    /// The table as text, with an empty line before the last `sums` rows.
    pub(super) fn render(mut self, sums: usize) -> String {
        self.0.load_style(NOTHING);
        self.0.column_iter_mut().for_each(|column| _ = column.set_padding((0, 2)));
        let mut lines: Vec<String> = self.0.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.insert(lines.len().saturating_sub(sums), String::new());
        lines.push(String::new());
        lines.join("\n")
    }
}

fn cut(cell: &str) -> String {
    match cell.char_indices().nth(MAX_CELL_CHARS) {
        Some((at, _)) => format!("{}…", &cell[..at]),
        None => cell.to_owned(),
    }
}
