//! Charts, as SVG that the style sheet colours. Every chart has its values as a table, too, for those who cannot see
//! it, who do not point at it, or who want the numbers. So the points of a chart are no stops of the keyboard.

use std::fmt::Write;

use maud::{Markup, html};

use crate::reader::Reader;
use crate::text;

/// A value of a chart.
pub struct Point {
    /// What it is the value of, as in `12 Nov`.
    pub label: String,
    /// The value, in minor units.
    pub minor_units: i64,
}

/// A bar that lies: a part of a whole.
pub struct Bar {
    /// What it is the value of.
    pub label: Markup,
    /// The value, as shown.
    pub value: Markup,
    /// Its length.
    pub minor_units: i64,
}

/// Where a chart is drawn, in units of its own.
struct Canvas {
    class: &'static str,
    width: i64,
    height: i64,
    /// How many labels fit below.
    labels: usize,
}

const LEFT: i64 = 52;
const RIGHT: i64 = 12;
const TOP: i64 = 14;
const BOTTOM: i64 = 26;
/// Half of the width of what is shown at a point.
const TIP: i64 = 62;

/// A line over time. Drawn twice, for wide and for narrow screens, because text that is scaled down cannot be read.
#[must_use]
pub fn line(points: &[Point], unit: &str, title: &str, reader: &Reader) -> Markup {
    let broad = Canvas { class: "chart broad", width: 640, height: 220, labels: 7 };
    let narrow = Canvas { class: "chart narrow", width: 340, height: 200, labels: 4 };
    html! {
        @for canvas in [broad, narrow] { (canvas.line(points, unit, title, reader)) }
        (table(points, unit, title, reader))
    }
}

/// The values of a chart.
fn table(points: &[Point], unit: &str, title: &str, reader: &Reader) -> Markup {
    html! {
        details {
            summary.soft { (text::AS_A_TABLE) }
            div.table-frame tabindex="0" role="region" aria-label=(title) {
                table.table {
                    thead { tr {
                        th scope="col" { (text::PERIOD) }
                        th.number scope="col" { (title) }
                    } }
                    tbody {
                        @for point in points {
                            tr {
                                th scope="row" { (point.label) }
                                td.number { (reader.amount_of(point.minor_units, unit)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Canvas {
    fn line(&self, points: &[Point], unit: &str, title: &str, reader: &Reader) -> Markup {
        let (width, height) = (self.width, self.height);
        let highest = points.iter().map(|point| point.minor_units).max().unwrap_or(0).max(0);
        let lowest = points.iter().map(|point| point.minor_units).min().unwrap_or(0).min(0);
        let decimals = u32::try_from(crate::reader::decimals(unit)).unwrap_or_default();
        let step = step(highest, lowest, 10_i64.saturating_pow(decimals));
        let top = highest.div_euclid(step).saturating_add(1).saturating_mul(step);
        let bottom = lowest.div_euclid(step).saturating_mul(step);
        let y = |minor: i64| self.y(minor, bottom, top);
        let last = points.len().saturating_sub(1);
        let x = |index: usize| self.x(index, last);
        let mut path = String::new();
        for (index, point) in points.iter().enumerate() {
            path += if index == 0 { "M" } else { " L" };
            // Writing into a string cannot fail.
            let _ = write!(path, "{} {}", x(index), y(point.minor_units));
        }
        let base = y(0);
        let area = format!("{path} L{} {base} L{} {base}Z", x(last), x(0));
        let every = points.len().div_ceil(self.labels).max(1);
        let ticks = (0..).map(|tick| bottom.saturating_add(step.saturating_mul(tick)));
        html! {
            svg class=(self.class) viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(title) {
                @for tick in ticks.take_while(|tick| *tick <= top).take(12) {
                    path.rule d={ "M" (LEFT) " " (y(tick)) "H" (width - RIGHT) } {}
                    text.end x=(LEFT - 8) y=(y(tick) + 4) { (short(tick, unit, reader)) }
                }
                @if !points.is_empty() {
                    path.area d=(area) {}
                    path.line d=(path) {}
                }
                @for (index, point) in points.iter().enumerate() {
                    @if (last - index).is_multiple_of(every) {
                        text.middle x=(x(index).clamp(LEFT, width - RIGHT - 16)) y=(height - 8) { (point.label) }
                    }
                }
                @for (index, point) in points.iter().enumerate() {
                    (self.point(point, unit, (x(index), y(point.minor_units)), points.len(), index == last, reader))
                }
            }
        }
    }

    /// What one sees when one points at a value.
    fn point(
        &self,
        point: &Point,
        unit: &str,
        (x, y): (i64, i64),
        points: usize,
        is_last: bool,
        reader: &Reader,
    ) -> Markup {
        let reach = (self.width - LEFT - RIGHT) / i64::try_from(points).unwrap_or(1).max(1);
        let (middle, above) = (x.clamp(LEFT + TIP, self.width - RIGHT - TIP), (y - 34).max(0));
        let value = reader.minor(point.minor_units, unit);
        html! {
            g.point.last[is_last] {
                rect.reach x=(x - reach / 2) y=(TOP) width=(reach.max(4)) height=(self.height - TOP - BOTTOM) {}
                circle.mark cx=(x) cy=(y) r="4" {}
                g.tip {
                    rect x=(middle - TIP) y=(above) width=(2 * TIP) height="22" rx="5" {}
                    text.middle x=(middle) y=(above + 15) { (point.label) " · " (value) }
                }
            }
        }
    }

    fn x(&self, index: usize, last: usize) -> i64 {
        let (index, last) = (i64::try_from(index).unwrap_or(0), i64::try_from(last).unwrap_or(1));
        let width = self.width - LEFT - RIGHT;
        if last == 0 { LEFT + width / 2 } else { LEFT + width * index / last }
    }

    fn y(&self, minor: i64, bottom: i64, top: i64) -> i64 {
        let height = i128::from(self.height - TOP - BOTTOM);
        let (above, range) =
            (i128::from(minor) - i128::from(bottom), i128::from(top) - i128::from(bottom));
        let up = height * above / range.max(1);
        self.height - BOTTOM - i64::try_from(up).unwrap_or_default()
    }
}

/// The distance of lines that makes three to six of them: 1, 2 or 5 times a power of ten, and whole units.
fn step(most: i64, least: i64, whole: i64) -> i64 {
    let range = most.saturating_sub(least).max(whole);
    let mut step = whole;
    let mut factors = [2, 5, 10].into_iter().cycle();
    let mut power = whole;
    while range / step > 4 {
        let factor = factors.next().unwrap_or(10);
        step = power.saturating_mul(factor);
        if factor == 10 {
            power = step;
        }
    }
    step
}

/// A tick: whole units, thousands and millions by their letters.
fn short(minor: i64, unit: &str, reader: &Reader) -> String {
    let whole =
        minor / 10_i64.pow(u32::try_from(crate::reader::decimals(unit)).unwrap_or_default());
    match whole.unsigned_abs() {
        0..10_000 => reader.number(whole),
        10_000..10_000_000 => format!("{}k", reader.number(whole / 1_000)),
        _ => format!("{}M", reader.number(whole / 1_000_000)),
    }
}

/// Bars that lie, each with its label and value.
#[must_use]
pub fn bars(bars: &[Bar]) -> Markup {
    let most = bars.iter().map(|bar| bar.minor_units).max().unwrap_or(1).max(1);
    html! {
        ul.bars role="list" {
            @for bar in bars {
                li {
                    span { (bar.label) }
                    (bar.value)
                    (length(bar.minor_units, most))
                }
            }
        }
    }
}

/// Steps, each as long as what is left of the first.
#[must_use]
pub fn funnel(steps: &[(&str, i64)], reader: &Reader) -> Markup {
    let most = steps.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    html! {
        ul.funnel role="list" {
            @for (label, count) in steps {
                li { span { (label) } (length(*count, most)) strong.number { (reader.number(*count)) } }
            }
        }
    }
}

/// A bar of a hundredth of the width for each percent.
pub(crate) fn length(part: i64, whole: i64) -> Markup {
    html! {
        svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" {
            rect width=(percent(part, whole)) height="1" {}
        }
    }
}

/// A part in percent of the whole, rounded half up; 0 to 100.
#[must_use]
pub fn percent(part: i64, whole: i64) -> i64 {
    let whole = i128::from(whole.max(1));
    let share = (i128::from(part.max(0)) * 100 + whole / 2) / whole;
    i64::try_from(share).unwrap_or(100).clamp(0, 100)
}

/// How much of a limit is used.
#[must_use]
pub fn meter(label: &str, right: &Markup, used: i64, whole: i64) -> Markup {
    // Full is what has reached its limit, not what is near it.
    let used = if used < whole { percent(used, whole).min(99) } else { 100 };
    let class = match used {
        100 => "meter full",
        80..100 => "meter near",
        _ => "meter",
    };
    html! {
        div class=(class) {
            div { span { (label) } span.number { (right) } }
            svg viewBox="0 0 100 1" preserveAspectRatio="none" role="meter" aria-label=(label) aria-valuenow=(used)
                aria-valuemin="0" aria-valuemax="100" {
                rect width=(used) height="1" {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Theme;

    #[test]
    fn lines_are_at_round_numbers_and_no_more_than_six() {
        for (most, least, whole, expected) in [
            (0, 0, 100, 100),
            (350, 0, 100, 100),
            (1_000, 0, 1, 500),
            (9_999, 0, 100, 2_000),
            (7, -7, 1, 5),
        ] {
            assert_eq!(step(most, least, whole), expected, "{least}..{most}");
        }
        for most in [1, 10, 99, 12_345, i64::MAX] {
            assert!(most / step(most, 0, 100) <= 5, "{most}");
        }
    }

    #[test]
    fn a_chart_of_any_values_stays_in_its_frame() {
        let reader = Reader::new("en", None, Theme::System, String::new());
        for values in
            [vec![], vec![0], vec![5], vec![-5, 5], vec![i64::MAX, i64::MIN], vec![1; 400]]
        {
            let points: Vec<Point> = values
                .iter()
                .map(|minor_units| Point { label: "1 Nov".into(), minor_units: *minor_units })
                .collect();
            let svg = line(&points, "USD", "Earned", &reader).into_string();
            assert_eq!(svg.matches("tabindex").count(), 1, "only the table takes the focus");
            for y in svg.split("cy=\"").skip(1) {
                let y: i64 = y.split('"').next().and_then(|y| y.parse().ok()).unwrap_or(-1);
                assert!((0..=220).contains(&y), "{values:?}: {y}");
            }
        }
    }

    #[test]
    fn a_part_is_between_nothing_and_the_whole() {
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(5, 8), 63);
        assert_eq!(percent(5, 3), 100);
        assert_eq!(percent(-5, 3), 0);
        assert_eq!(percent(3, 0), 100);
        assert_eq!(percent(i64::MAX, i64::MAX), 100);
    }
}
