//! Latency over time as a picture: p50 and p99 of every second.
//!
//! A handful of lines in SVG need no library for plots.

use std::fmt::Write;

use super::Report;
use super::report::Second;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 400.0;
/// Room for labels: to the left and right, above, and below.
const SIDE: f64 = 64.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 48.0;
/// About how many labels an axis has.
const TICKS: f64 = 6.0;

/// A line of the plot: its name, its color, and what it shows of a second.
type Line = (&'static str, &'static str, fn(&Second) -> f64);

const LINES: [Line; 2] = [
    ("p50", "#1f77b4", |second| second.latency.p50_ms),
    ("p99", "#d62728", |second| second.latency.p99_ms),
];

/// The picture of a run, as the text of an SVG file.
#[must_use]
pub fn svg(report: &Report) -> String {
    let title = format!(
        "{}: {:.0} operations a second, tributary {}, {}",
        report.settings.scenario.name(),
        report.throughput_per_s,
        report.version,
        report.date
    );
    draw(&title, &report.seconds)
}

fn draw(title: &str, seconds: &[Second]) -> String {
    let last = seconds.last().map_or(0, |second| second.second);
    let longest = seconds.iter().map(|second| second.latency.p99_ms).fold(0.0, f64::max);
    let (x_end, y_end) = (place(last).max(1.0), longest.max(0.1) * 1.05);
    let x = |value: f64| SIDE + value / x_end * (WIDTH - 2.0 * SIDE);
    let y = |value: f64| HEIGHT - BOTTOM - value / y_end * (HEIGHT - TOP - BOTTOM);
    let mut lines = vec![
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">"#
        ),
        format!(r#"<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>"#),
        format!(r#"<text x="{SIDE}" y="24" font-size="14">{title}</text>"#),
        format!(r#"<text x="{SIDE}" y="40">latency in ms</text>"#),
        format!(
            r#"<text x="{}" y="{}" text-anchor="end">seconds</text>"#,
            WIDTH - SIDE,
            HEIGHT - 12.0
        ),
    ];
    for tick in ticks(y_end) {
        let (left, right, at) = (SIDE, WIDTH - SIDE, y(tick));
        lines.push(format!(
            r##"<path d="M{left:.1} {at:.1}H{right:.1}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{tick}</text>"##,
            left - 6.0,
            at + 4.0
        ));
    }
    for tick in ticks(x_end) {
        let (at, label) = (x(tick), HEIGHT - BOTTOM + 16.0);
        lines.push(format!(
            r#"<text x="{at:.1}" y="{label:.1}" text-anchor="middle">{tick}</text>"#
        ));
    }
    for (index, (name, color, value)) in LINES.iter().enumerate() {
        // A second in which nothing succeeded has no latency.
        let known = seconds.iter().filter(|second| second.latency.count > 0);
        let points = known.fold(String::new(), |mut points, second| {
            let (x, y) = (x(place(second.second)), y(value(second)));
            // Writing to a string does not fail.
            let _ = write!(points, "{x:.1},{y:.1} ");
            points
        });
        let points = points.trim_end();
        lines.push(format!(
            r#"<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>"#
        ));
        let legend = WIDTH - SIDE + 6.0;
        lines.push(format!(
            r#"<text x="{legend}" y="{:.1}" fill="{color}">{name}</text>"#,
            TOP + 16.0 * place(index)
        ));
    }
    lines.push("</svg>\n".into());
    lines.join("\n")
}

#[expect(clippy::cast_precision_loss, reason = "runs are shorter than 2^52 seconds")]
fn place(index: usize) -> f64 {
    index as f64
}

/// Round numbers from 0 up to `end`: steps of 1, 2 or 5 times a power of ten.
fn ticks(end: f64) -> Vec<f64> {
    let least = end / TICKS;
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step.into_iter().find(|&step| step >= least).unwrap_or(end);
    let numbers = (0..=20).map(|number| f64::from(number) * step);
    // Sums of binary fractions have tails that nobody wants to read.
    let rounded = numbers.map(|tick| (tick * 1e6).round() / 1e6);
    rounded.take_while(|&tick| tick <= end).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;
    use crate::Latency;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(30.0), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        assert_eq!(ticks(0.9), [0.0, 0.2, 0.4, 0.6, 0.8]);
        assert_eq!(ticks(1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    }

    #[test]
    fn seconds_without_success_are_left_out() {
        let mut some = Histogram::<u32>::new(2).unwrap();
        some.record(2_000).unwrap();
        let none = Histogram::<u32>::new(2).unwrap();
        let seconds: Vec<_> = [&some, &none, &some]
            .into_iter()
            .enumerate()
            .map(|(second, histogram)| Second { second, latency: Latency::of(histogram) })
            .collect();
        let svg = draw("test", &seconds);
        let lines: Vec<_> = svg.lines().filter(|line| line.starts_with("<polyline")).collect();
        assert_eq!(lines.len(), 2);
        for line in lines {
            let points = line.split('"').nth(1).unwrap();
            assert_eq!(points.split(' ').count(), 2, "{line}");
        }
        assert!(svg.ends_with("</svg>\n"));
        assert!(!draw("nothing", &[]).contains("NaN"));
    }
}
