//! What to know about a machine before believing its figures.

use std::fs;
use std::process::Command;

/// The packages whose versions matter, as our lock file has them.
const PACKAGES: &[&str] = &["hyper", "tokio"];

/// What does not change during a run: processor, kernel, compiler, libraries.
pub(crate) fn facts(cores: usize) -> Vec<(&'static str, String)> {
    vec![
        ("processor", format!("{cores} x {}", processor())),
        ("kernel", kernel()),
        ("compiler", compiler()),
        ("libraries", libraries(include_str!("../../Cargo.lock"))),
    ]
}

/// What others take from a run: the load of the last minute, and the time that the host stole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Noise {
    load: f64,
    stolen_ticks: u64,
    all_ticks: u64,
}

impl Noise {
    pub(crate) fn now() -> Self {
        let first_word = |text: String| text.split(' ').next()?.parse().ok();
        let ticks = read("/proc/stat");
        let ticks = ticks.lines().next().unwrap_or_default().split_whitespace();
        let ticks: Vec<u64> = ticks.filter_map(|tick| tick.parse().ok()).collect();
        Self {
            load: first_word(read("/proc/loadavg")).unwrap_or(f64::NAN),
            stolen_ticks: ticks.get(7).copied().unwrap_or(0),
            // What guests use is part of what users use.
            all_ticks: ticks.iter().take(8).sum(),
        }
    }

    /// What happened between this and `later`.
    pub(crate) fn until(&self, later: &Self) -> String {
        let stolen = later.stolen_ticks.saturating_sub(self.stolen_ticks);
        let all = later.all_ticks.saturating_sub(self.all_ticks).max(1);
        let share = 100.0 * stolen as f64 / all as f64;
        let (before, after) = (self.load, later.load);
        format!(
            "load average {before:.1} before and {after:.1} after, {share:.1} % stolen by the host"
        )
    }
}

fn processor() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| {
        let (name, model) = line.split_once(':')?;
        (name.trim() == "model name").then(|| model.trim().to_owned())
    });
    model.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn kernel() -> String {
    match read("/proc/sys/kernel/osrelease").trim() {
        "" => std::env::consts::OS.to_owned(),
        release => format!("Linux {release}"),
    }
}

fn compiler() -> String {
    let said = Command::new("rustc").arg("--version").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.unwrap_or_else(|_| "unknown".into())
}

fn libraries(lock: &str) -> String {
    let version = |package: &str| {
        let name = format!("name = \"{package}\"\nversion = \"");
        let (_, rest) = lock.split_once(&name)?;
        let (version, _) = rest.split_once('"')?;
        Some(format!("{package} {version}"))
    };
    let versions: Vec<String> = PACKAGES.iter().filter_map(|p| version(p)).collect();
    versions.join(", ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_names_our_libraries() {
        let lock = "[[package]]\nname = \"hyper\"\nversion = \"1.2.3\"\n\n[[package]]\nname = \
                    \"tokio\"\nversion = \"4.5.6\"\n";
        assert_eq!(libraries(lock), "hyper 1.2.3, tokio 4.5.6");
    }
}
