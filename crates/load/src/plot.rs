//! Latency over time as a picture: p50 and p99 of every second.

use plotters::prelude::*;

use super::report::Second;
use super::{LoadError, Report};

/// Width and height, in pixels.
const SIZE: (u32, u32) = (800, 400);
const MARGIN: u32 = 12;
/// Space for the labels of an axis.
const LABELS: u32 = 48;
/// The height of the picture relative to its lines, so that the legend fits above them.
const HEADROOM: f64 = 1.25;
const FONT: &str = "sans-serif";

/// A line of the plot: its name, its color, and the value that it shows for a second.
type Line = (&'static str, RGBColor, fn(&Second) -> f64);

const LINES: [Line; 2] = [
    ("p50", RGBColor(0x1f, 0x77, 0xb4), |second| second.latency.p50_ms),
    ("p99", RGBColor(0xd6, 0x27, 0x28), |second| second.latency.p99_ms),
];

/// The picture of a run, as the text of an SVG file.
///
/// # Errors
/// [`LoadError::Unusable`] if the picture cannot be drawn.
pub fn svg(report: &Report) -> Result<String, LoadError> {
    let title = format!(
        "{}: {:.0} operations a second, tributary {}, {}",
        report.settings.scenario.name(),
        report.throughput_per_s,
        report.version,
        report.date
    );
    draw(&title, &report.seconds)
        .map_err(|error| LoadError::Unusable { what: "the plot", reason: error.to_string() })
}

fn draw(title: &str, seconds: &[Second]) -> Result<String, Box<dyn std::error::Error>> {
    let last = seconds.last().map_or(0, |second| second.second);
    let longest = seconds.iter().map(|second| second.latency.p99_ms).fold(0.1, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (FONT, 14))
            .margin(MARGIN)
            .x_label_area_size(LABELS)
            .y_label_area_size(LABELS)
            .build_cartesian_2d(0..last.max(1), 0.0..longest * HEADROOM)?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().light_line_style(TRANSPARENT);
        mesh.x_desc("seconds").y_desc("latency in ms").draw()?;
        for (name, color, value) in LINES {
            // A second in which nothing succeeded has no latency.
            let known = seconds.iter().filter(|second| second.latency.count > 0);
            let points = known.map(|second| (second.second, value(second)));
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
        }
        let mut names = chart.configure_series_labels();
        names.background_style(WHITE).position(SeriesLabelPosition::UpperRight).draw()?;
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;
    use crate::Latency;

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
        let svg = draw("less than <1 s", &seconds).unwrap();
        assert!(svg.contains("less than &lt;1 s") && svg.ends_with("</svg>\n"), "{svg}");
        for color in ["#1F77B4", "#D62728"] {
            let lines =
                svg.lines().filter(|line| line.contains("<polyline") && line.contains(color));
            let points = lines.map(|line| line.split_once("points=\"").unwrap().1);
            let points = points.map(|points| points.split('"').next().unwrap().trim());
            let counts: Vec<_> = points.map(|points| points.split(' ').count()).collect();
            // The line itself and its sample in the legend.
            assert_eq!(counts, [2, 2], "{svg}");
        }
    }

    #[test]
    fn a_run_without_a_second_has_a_picture_too() {
        assert!(draw("nothing", &[]).unwrap().contains("<svg"));
    }
}
