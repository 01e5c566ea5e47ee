//! What `ringway top` shows: lines that stay at the top, and rows that can be moved in.

use crate::admin::model::PoolStatus;
use crate::admin::model::Status;
use crate::cli::node_table;
use crate::cli::node_table::Sort;
use crate::cli::node_table::TOP;
use crate::cli::output::LINE_WIDTH;
use crate::cli::output::wrapped_at;
use crate::cli::paint::Line;
use crate::cli::paint::Paint;
use crate::cli::status;
use crate::cli::terminal::Size;
use clap::ValueEnum;
use std::time::SystemTime;

/// How a proxy does at one moment.
pub(super) struct Frame {
    fixed: Vec<Line>,
    rows: Vec<Line>,
}

impl Frame {
    /// Of a status whose nodes are in order, for a terminal of so many columns or for none.
    pub(super) fn of(status: &Status, columns: Option<usize>, now: SystemTime) -> Frame {
        let mut process = status::process(status);
        process.push(humantime::format_rfc3339_seconds(now).to_string());
        let mut fixed = paragraph(process, columns, Paint::Plain);
        fixed.extend(status::reload_failed(status).map(|failed| Line::new(failed, Paint::Bad)));
        let mut rows = Vec::new();
        for pool in &status.pools {
            let (mut head, mut nodes) = lines_of(pool, columns, now);
            // Of one pool only the nodes move.
            let of_head = if status.pools.len() == 1 { &mut fixed } else { &mut rows };
            of_head.push(Line::default());
            of_head.append(&mut head);
            rows.append(&mut nodes);
        }
        Frame { fixed, rows }
    }

    /// All of it.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.fixed.iter().chain(&self.rows)
    }

    /// The most rows that can go out of sight at the top.
    pub(super) fn scroll_max(&self, size: Size) -> usize {
        self.rows.len().saturating_sub(self.room(size))
    }

    /// A screen full, without the first `scrolled` rows, and a footer.
    pub(super) fn shown(&self, size: Size, scrolled: usize, footer: Line) -> Vec<Line> {
        let room = self.room(size);
        let rows = self.rows.iter().skip(scrolled).take(room);
        let mut lines: Vec<Line> = self.fixed.iter().chain(rows).cloned().collect();
        lines.resize(size.rows.saturating_sub(1), Line::default());
        let all = self.rows.len();
        lines.push(match room {
            0 => footer,
            room if room >= all => footer,
            room => footer.with(format_args!("   lines {} to {} of {all}", scrolled + 1, scrolled + room), Paint::Dim),
        });
        lines
    }

    /// How many rows fit between what stays and the footer.
    fn room(&self, size: Size) -> usize {
        size.rows.saturating_sub(self.fixed.len() + 1)
    }
}

/// What stands below: how to leave, or that the proxy is not heard.
pub(super) fn footer(lost: Option<&str>, sort: Sort) -> Line {
    let order = sort.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    match lost {
        Some(why) => Line::new(format_args!("as it was, trying again: {why}"), Paint::Bad),
        None => Line::new(format_args!("q leave   s sort: {order}"), Paint::Dim),
    }
}

/// What stays of a pool, its last line the header of the table, and the rest.
fn lines_of(pool: &PoolStatus, columns: Option<usize>, now: SystemTime) -> (Vec<Line>, Vec<Line>) {
    let mut head = paragraph(status::title(pool), columns, Paint::Bold);
    head.append(&mut paragraph(status::figures(pool), columns, Paint::Plain));
    head.extend(status::trouble(pool).into_iter().map(|trouble| Line::new(trouble, Paint::Bad)));
    head.extend(pool.last_change.as_ref().map(|change| Line::new(status::last_change(change, now), Paint::Dim)));
    let mut rows = node_table::table(&pool.nodes, &TOP, now).lines(columns);
    head.push(rows.remove(0));
    let told = if node_table::says_why(&pool.nodes, &TOP, columns, now) {
        Vec::new()
    } else {
        node_table::causes(&pool.nodes, now)
    };
    let notes = told.into_iter().chain(node_table::notes(&pool.nodes, now));
    rows.extend(notes.map(|note| Line::new(note, Paint::Warn)));
    (head, rows)
}

/// A few words each, as many to a line as fit.
fn paragraph(words: Vec<String>, columns: Option<usize>, paint: Paint) -> Vec<Line> {
    let lines = wrapped_at(columns.unwrap_or(LINE_WIDTH * 2), "", words);
    lines.into_iter().map(|line| Line::new(line, paint)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::paint::Colours;

    fn lines(texts: impl IntoIterator<Item = String>) -> Vec<Line> {
        texts.into_iter().map(|text| Line::new(text, Paint::Plain)).collect()
    }

    #[test]
    fn rows_move_between_what_stays_and_the_footer() {
        let frame = Frame {
            fixed: lines(["pool".to_owned(), "node".to_owned()]),
            rows: lines((0..10).map(|row| row.to_string())),
        };
        let shown = |rows, scrolled| {
            let lines = frame.shown(Size { columns: 80, rows }, scrolled, footer(None, Sort::Added));
            lines.iter().map(|line| line.painted(Colours::None)).collect::<Vec<String>>()
        };
        assert_eq!(frame.scroll_max(Size { columns: 80, rows: 6 }), 7);
        assert_eq!(shown(6, 7), ["pool", "node", "7", "8", "9", "q leave   s sort: added   lines 8 to 10 of 10"]);
        assert_eq!(shown(16, 0)[10..], ["8", "9", "", "", "", "q leave   s sort: added"]);
        assert_eq!(shown(2, 0), ["pool", "q leave   s sort: added"]);
        assert_eq!(frame.scroll_max(Size { columns: 80, rows: 16 }), 0);
    }

    #[test]
    fn a_proxy_that_is_gone_is_told_below() {
        let footer = footer(Some("nobody answers"), Sort::Added).painted(Colours::Cube);
        assert_eq!(footer, "\x1b[1;31mas it was, trying again: nobody answers\x1b[0m");
    }
}
