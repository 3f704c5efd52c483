//! A report as a small table.

use super::Report;
use super::check::Checked;
use super::report::{Latency, Live, Storm};

impl Report {
    /// The lines of the table.
    #[must_use]
    pub fn table(&self) -> Vec<String> {
        let mut lines = self.heading();
        lines.extend(self.outcome());
        lines.extend(self.storm.iter().flat_map(storm));
        lines.extend(self.live.iter().flat_map(live));
        lines.extend(self.aftermath());
        lines
    }

    /// The settings and the machine of the run.
    fn heading(&self) -> Vec<String> {
        let (settings, machine) = (&self.settings, &self.machine);
        let length = match (settings.count, settings.duration_s) {
            (Some(count), _) => format!("{count} operations"),
            (None, seconds) => format!("{} s", seconds.unwrap_or_default()),
        };
        let rate = match (settings.rate, settings.share_of_full.zip(self.full_per_s)) {
            (None, _) => "as fast as it goes".into(),
            (Some(rate), None) => format!("{rate} a second"),
            (Some(rate), Some((share, full))) => {
                format!("{rate:.0} a second ({:.0} % of {full:.0})", share * 100.0)
            }
        };
        let (name, warm_up_s) = (settings.scenario.name(), settings.warm_up_s);
        let (concurrency, connections) = (settings.concurrency, settings.connections);
        let (seed, version, build) = (settings.seed, self.version, self.build);
        let caller = settings.caller.name();
        let participants = match &settings.participants_of {
            None => format!("{} in {:.1} s", settings.participants, self.set_up_s),
            Some(run) => format!("{} of {run}", settings.participants),
        };
        let (cores, cpu_model, system) = (machine.cores, &machine.cpu_model, &machine.system);
        vec![
            row("scenario", &format!("{name}, {length} after {warm_up_s} s, {rate}")),
            row(
                "load",
                &format!(
                    "{concurrency} at a time on {connections} connections, seed {seed}, by {caller}"
                ),
            ),
            row("program", &format!("tributary {version} ({build})")),
            row("machine", &format!("{cores} cores, {cpu_model}, {system}")),
            row("run", &self.run),
            row("participants", &participants),
        ]
    }

    /// The measurements.
    fn outcome(&self) -> Vec<String> {
        let (count, elapsed_s, succeeded) = (self.count, self.elapsed_s, self.succeeded);
        let mut lines = vec![
            row("throughput", &format!("{:.1} a second", self.throughput_per_s)),
            row("operations", &format!("{count} in {elapsed_s:.2} s, {succeeded} succeeded")),
        ];
        let errors = self.errors.iter();
        lines.extend(errors.map(|(reason, count)| row("  failed", &format!("{count} {reason}"))));
        if self.unstarted > 0 {
            lines
                .push(row("  never started", &format!("{}: the rate is too high", self.unstarted)));
        }
        lines.push(row("", "     p50      p90      p99    p99.9      max  ms"));
        lines.push(row("latency", &latency(&self.latency)));
        lines
    }

    /// The checks after the run.
    fn aftermath(&self) -> Vec<String> {
        let (greatest, end) = (self.lag.greatest_events, self.lag.end_events);
        let catch_up_ms = self.lag.catch_up_ms;
        let lag = format!(
            "{greatest} events behind at most, {end} at the end, caught up in {catch_up_ms:.0} ms"
        );
        let mut lines = vec![row("read models", &lag)];
        lines.extend(self.memory.map(|memory| {
            let (now, peak) = (memory.resident_bytes >> 20, memory.peak_bytes >> 20);
            row("memory of the server", &format!("{now} MiB, {peak} MiB at most"))
        }));
        lines.push(row("sign-ups in the log", &checked(&self.sign_ups)));
        lines.push(row("purchases in the log", &checked(&self.purchases)));
        lines
    }
}

fn row(name: &str, value: &str) -> String {
    format!("{name:22}{value}")
}

fn storm(storm: &Storm) -> Vec<String> {
    let Storm { before_per_s, p50_ratio, p99_ratio, .. } = storm;
    let answers: Vec<String> =
        storm.answers.iter().map(|(answer, count)| format!("{count} {answer}")).collect();
    vec![
        row("  before the storm", &latency(&storm.before)),
        row("  during / before", &format!("{p50_ratio:8.2} {:8} {p99_ratio:8.2}", "")),
        row("  before the storm", &format!("{before_per_s:.1} a second")),
        row("calls of the storm", &latency(&storm.calls)),
        row("  answered", &answers.join(", ")),
    ]
}

fn live(live: &Live) -> Vec<String> {
    let (streams, rewards) = (live.streams, live.rewards);
    let mut lines = Vec::new();
    let mut came = format!("{streams} with {rewards} rewards");
    if let Some(took) = &live.delivery {
        lines.push(row("answer to stream", &latency(took)));
        came = format!("{came}, {} of them before the answer", live.before_answer);
    }
    lines.extend(live.read_after_write.as_ref().map(|took| row("answer to read", &latency(took))));
    if live.unread > 0 {
        lines.push(row("  not read after", &live.unread.to_string()));
    }
    lines.push(row("live streams", &came));
    lines
}

fn latency(latency: &Latency) -> String {
    let Latency { p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } = latency;
    format!("{p50_ms:8.2} {p90_ms:8.2} {p99_ms:8.2} {p999_ms:8.2} {max_ms:8.2}")
}

fn checked(checked: &Checked) -> String {
    let Checked { acknowledged, found, found_unanswered, faults, .. } = checked;
    format!("{found}, {acknowledged} acknowledged, {found_unanswered} unanswered, {faults} faults")
}
