//! Rows of columns that line up and fit: in a terminal they never wrap.

use crate::cli::paint::Line;
use crate::cli::paint::Paint;
use crate::cli::paint::printable;
use crate::cli::paint::shortened;
use crate::cli::paint::width;

/// Rows of columns.
#[derive(Debug)]
pub(super) struct Table {
    right_from: usize,
    rows: Vec<Vec<Cell>>,
    /// Columns that may be shortened.
    flexible: Vec<usize>,
    /// Columns that are left out where all do not fit, the first one first.
    dropped: Vec<usize>,
    /// Where no terminal has a width, as wide as this at most, as far as shortening allows.
    most: Option<usize>,
}

/// What stands in one place.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// Text that looks like this.
    pub(super) fn new(text: &str, paint: Paint) -> Cell {
        Cell { text: printable(text).into_owned(), paint }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::new(&text, Paint::Plain)
    }
}

impl Table {
    /// A table with this header; the columns from index `right_from` on hold numbers and are aligned to the right.
    pub(super) fn new(header: &[&str], right_from: usize) -> Table {
        let header = header.iter().map(|title| Cell::new(title, Paint::Bold)).collect();
        Table { right_from, rows: vec![header], flexible: Vec::new(), dropped: Vec::new(), most: None }
    }

    /// One more row.
    pub(super) fn row<C: Into<Cell>>(&mut self, cells: Vec<C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Lets these columns be shortened, the widest of them first.
    pub(super) fn shortening(mut self, columns: &[usize]) -> Table {
        self.flexible = columns.to_vec();
        self
    }

    /// Lets these columns be left out in a terminal that is too narrow, in this order.
    pub(super) fn dropping(mut self, columns: impl IntoIterator<Item = usize>) -> Table {
        self.dropped = columns.into_iter().collect();
        self
    }

    /// Shortens to this width where there is no terminal, too.
    pub(super) fn at_most(mut self, width: usize) -> Table {
        self.most = Some(width);
        self
    }

    /// The table as text, the header first, in a terminal of so many columns or anywhere else.
    pub(super) fn lines(&self, columns: Option<usize>) -> Vec<Line> {
        let fit = self.fit(columns);
        let lines = self.rows.iter().map(|row| self.aligned(row, &fit));
        match columns {
            Some(columns) => lines.map(|line| line.cut(columns)).collect(),
            None => lines.collect(),
        }
    }

    /// Whether a column is shown there.
    pub(super) fn shows(&self, column: usize, columns: Option<usize>) -> bool {
        self.fit(columns).iter().any(|(shown, _)| *shown == column)
    }

    /// The columns that are shown, each with its width.
    fn fit(&self, columns: Option<usize>) -> Vec<(usize, usize)> {
        let mut fit: Vec<(usize, usize)> = self.widths().into_iter().enumerate().collect();
        let Some(most) = columns.or(self.most) else { return fit };
        if columns.is_some() {
            for dropped in &self.dropped {
                if total(fit.iter().map(|(column, width)| self.least(*column, *width))) <= most {
                    break;
                }
                fit.retain(|(column, _)| column != dropped);
            }
        }
        while total(fit.iter().map(|(_, width)| *width)) > most {
            let flexible = fit.iter_mut().filter(|(column, _)| self.flexible.contains(column));
            let Some((_, longest)) = flexible.max_by_key(|(_, width)| *width) else { break };
            if *longest <= SHORTEST {
                break;
            }
            *longest -= 1;
        }
        fit
    }

    /// How narrow a column of this width becomes before another one is left out.
    fn least(&self, column: usize, width: usize) -> usize {
        if self.flexible.contains(&column) { width.min(SHORT) } else { width }
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let width = |column| cells(column).map(|cell| width(&cell.text)).max().unwrap_or_default();
        (0..columns).map(width).collect()
    }

    fn aligned(&self, row: &[Cell], fit: &[(usize, usize)]) -> Line {
        let mut line = Line::default();
        for (place, (column, wide)) in fit.iter().enumerate() {
            let Some(cell) = row.get(*column) else { break };
            let text = shortened(&cell.text, *wide);
            let gap = if place == 0 { "" } else { GAP };
            let blank = " ".repeat(wide - width(&text));
            line = match *column >= self.right_from {
                true => line.with(gap, Paint::Plain).with(blank, Paint::Plain).with(text, cell.paint),
                false => line.with(gap, Paint::Plain).with(text, cell.paint).with(blank, Paint::Plain),
            };
        }
        line.trimmed()
    }
}

/// How wide columns are together.
fn total(widths: impl ExactSizeIterator<Item = usize>) -> usize {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    widths.sum::<usize>() + gaps
}

/// What stands between columns.
const GAP: &str = "  ";

/// Columns are shortened to this before others are left out.
const SHORT: usize = 28;

/// No column is made narrower than this: it is what still tells cells apart.
const SHORTEST: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::paint::Colours;
    use proptest::prelude::*;

    fn shown(table: &Table, columns: Option<usize>) -> Vec<String> {
        table.lines(columns).iter().map(|line| line.painted(Colours::None)).collect()
    }

    fn strings(cells: &[&str]) -> Vec<String> {
        cells.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["node", "state", "weight"], 2);
        table.row(strings(&["chat-0", "up", "1"]));
        table.row(strings(&["b", "draining", "1000"]));
        let lines = ["node    state     weight", "chat-0  up             1", "b       draining    1000"];
        assert_eq!(shown(&table, None), lines);
    }

    #[test]
    fn columns_line_up_where_characters_are_wide() {
        let mut table = Table::new(&["zone", "weight"], 1);
        table.row(strings(&["東京", "1"]));
        table.row(strings(&["a\u{301}\n", "2"]));
        assert_eq!(shown(&table, None), ["zone        weight", "東京             1", r"a\u{301}\n       2"]);
    }

    #[test]
    fn a_narrow_terminal_drops_columns_in_their_order_and_then_shortens() {
        let mut table = Table::new(&["node", "address", "health", "owns"], 3);
        table.row(strings(&[&"n".repeat(40), "10.0.0.10:3000", "well", "33.1 %"]));
        let table = table.shortening(&[0, 1]).dropping([1, 3]);
        let row = |columns| shown(&table, Some(columns)).remove(1);
        let name = |characters| "n".repeat(characters);
        assert_eq!(row(72), format!("{}  10.0.0.10:3000  well    33.1 %", name(40)));
        assert_eq!(row(65), format!("{}…  10.0.0.10:3000  well    33.1 %", name(32)));
        assert_eq!(row(59), format!("{}  well    33.1 %", name(40)));
        assert_eq!(row(43), format!("{}…  well", name(34)));
        assert_eq!(row(20), format!("{}…  well", name(11)));
        assert_eq!(row(9), "nnnnn…  …", "what is left is cut");
        assert!(!table.shows(1, Some(59)) && table.shows(1, Some(60)) && table.shows(1, None));
    }

    #[test]
    fn off_a_terminal_no_column_is_missing() {
        let mut table = Table::new(&["node", "owns"], 1);
        table.row(strings(&["a-node-with-a-long-name", "33.1 %"]));
        let table = table.shortening(&[0]).dropping([1]);
        assert_eq!(shown(&table, None)[1], "a-node-with-a-long-name  33.1 %");
        assert_eq!(shown(&table.at_most(16), None)[1], "a-node-…  33.1 %");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            cells in prop::collection::vec(prop::collection::vec(any::<String>(), 4), 0..5),
            columns in 0..60_usize,
        ) {
            let mut table = Table::new(&["node", "address", "health", "owns"], 2);
            cells.into_iter().for_each(|row| table.row(row));
            let table = table.shortening(&[0, 1]).dropping([1, 3]);
            for line in table.lines(Some(columns)) {
                prop_assert!(line.width() <= columns, "{columns}: {line:?}");
            }
        }
    }
}
