//! The machine of a run. Numbers without it are meaningless.

use std::fs;

use serde::Serialize;

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Threads that can run at the same time.
    pub cores: usize,
    /// The model of the processor; empty if unknown.
    pub cpu_model: String,
    /// The operating system and the architecture.
    pub system: String,
}

impl Machine {
    /// The machine that this process runs on.
    #[must_use]
    pub fn this() -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cpu_model: cpu_model(&cpu_info).to_owned(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

fn cpu_model(cpu_info: &str) -> &str {
    field(cpu_info, "model name").unwrap_or_default()
}

/// The value of a line `name: value`, as in files in `/proc`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(key, value)| (key.trim(), value.trim()))
        .find(|(key, _)| *key == name)
        .map(|field| field.1)
}

/// The memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The current memory, in bytes.
    pub resident_bytes: u64,
    /// The peak memory, in bytes.
    pub peak_bytes: u64,
}

impl Memory {
    /// The memory of a running process; `None` if there is no such process, or the memory is unknown.
    #[must_use]
    pub fn of(process_id: u32) -> Option<Self> {
        parse_status(&fs::read_to_string(format!("/proc/{process_id}/status")).ok()?)
    }
}

fn parse_status(status: &str) -> Option<Memory> {
    let bytes = |name| {
        let kilobytes = field(status, name)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?;
        Some(kilobytes * 1024)
    };
    Some(Memory { resident_bytes: bytes("VmRSS")?, peak_bytes: bytes("VmHWM")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_as_the_machine_names_it() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\n\nprocessor\t: 1\n";
        assert_eq!(cpu_model(text), "Some CPU @ 2.00GHz");
        assert_eq!(cpu_model(""), "");
        assert!(Machine::this().cores > 0);
    }

    #[test]
    fn memory_is_read_from_the_status_of_a_process() {
        let text = "Name:\ttributary\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let memory = Memory { resident_bytes: 1 << 20, peak_bytes: 2 << 20 };
        assert_eq!(parse_status(text), Some(memory));
        assert_eq!(parse_status("Name:\ttributary\n"), None);
    }
}
