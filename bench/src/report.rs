//! The report: figures with their spread, and everything needed to doubt them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::Plan;
use crate::load::Sample;
use crate::machine::{self, Noise};
use crate::pin::Cores;
use crate::rounds::{Round, Spread, Wait};
use crate::rows::{Measured, Row};

/// A load that uses a larger share of its server's time than this may be what limits the server.
const LOAD_SHARE: f64 = 0.95;

/// The report of one run.
#[derive(Debug)]
pub(crate) struct Report {
    facts: Vec<(&'static str, String)>,
    noise: Noise,
    rows: Vec<(Row, Measured)>,
}

impl Report {
    pub(crate) fn begin(plan: &Plan, cores: &Cores) -> Self {
        let mut facts = machine::facts(cores.count);
        let (rounds, seconds) = (plan.rounds, plan.each.as_secs_f64());
        facts.push(("placing", cores.about().into()));
        facts.push((
            "rounds",
            format!("{rounds} of {seconds} s a side, after one that does not count"),
        ));
        Self {
            facts,
            noise: Noise::now(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, row: &Row, measured: Measured) {
        self.rows.push((row.clone(), measured));
    }

    /// Closes it: what happened on the machine meanwhile.
    pub(crate) fn end(mut self) -> Self {
        let noise = self.noise.until(&Noise::now());
        self.facts.push(("noise", noise));
        self
    }

    /// Two tables of Markdown, which a terminal shows as well.
    pub(crate) fn to_table(&self) -> String {
        let facts = self.facts.iter();
        let facts: Vec<String> = facts
            .map(|(what, fact)| format!("- {what}: {fact}"))
            .collect();
        let mut parts = vec![facts.join("\n")];
        let asked: Vec<_> = self.rows.iter().filter_map(asked).collect();
        if !asked.is_empty() {
            let figures = asked.iter().map(|(row, bytes, r)| figure(row, *bytes, r));
            parts.push(table(&FIGURE_TITLES, &figures.collect::<Vec<_>>()));
            let raw = asked.iter().flat_map(|(row, _, rounds)| raw(row, rounds));
            parts.push(table(&RAW_TITLES, &raw.collect::<Vec<_>>()));
            parts.push(self.caution());
        }
        for (row, measured) in &self.rows {
            if let Measured::Waited { waits, facts } = measured {
                parts.push(table(&WAIT_TITLES, &[wait_figure(row, waits)]));
                let facts = facts.iter().map(|(what, fact)| format!("- {what}: {fact}"));
                parts.push(facts.collect::<Vec<_>>().join("\n"));
            }
        }
        parts.join("\n\n")
    }

    pub(crate) fn to_json(&self) -> String {
        let facts = self.facts.iter();
        let facts: serde_json::Map<String, Value> = facts
            .map(|(what, fact)| ((*what).to_owned(), json!(fact)))
            .collect();
        let rows: Vec<Value> = self.rows.iter().map(row_json).collect();
        format!("{:#}", json!({"facts": facts, "rows": rows}))
    }

    /// What to keep in mind with these very figures.
    fn caution(&self) -> String {
        let asked = self.rows.iter().filter_map(asked);
        let rounds = asked.flat_map(|(_, _, rounds)| rounds);
        let heaviest = rounds
            .flat_map(|round| [load_share(&round.floor), load_share(&round.hermes)])
            .fold(0.0, f64::max);
        let percent = 100.0 * heaviest;
        let so = if heaviest < LOAD_SHARE {
            "it was not what limited the server."
        } else {
            "a server may have waited for it: then it is woken for fewer requests at once, and each \
             of them costs a little more."
        };
        format!("The load used up to {percent:.0} % of the time that its server used: {so}")
    }
}

/// A row of requests.
fn asked((row, measured): &(Row, Measured)) -> Option<(&Row, usize, &[Round])> {
    match measured {
        Measured::Asked { bytes, rounds } => Some((row, *bytes, rounds)),
        Measured::Waited { .. } => None,
    }
}

const FIGURE_TITLES: [&str; 8] = [
    "row",
    "request",
    "bytes",
    "floor, /CPU s",
    "Hermes, /CPU s",
    "ratio (min..max)",
    "aim",
    "by the clock (min..max)",
];

const WAIT_TITLES: [&str; 5] = ["row", "what", "floor, s", "Hermes, s", "ratio (min..max)"];

const RAW_TITLES: [&str; 7] = [
    "row",
    "side",
    "requests/s",
    "CPU us/request (min..max)",
    "server busy",
    "load busy",
    "requests",
];

/// One line: the figure of a row.
fn figure(row: &Row, bytes: usize, rounds: &[Round]) -> Vec<String> {
    let thousands = |side: fn(&Round) -> &Sample| {
        let spread = Spread::of(rounds.iter().map(|round| side(round).per_server_second()));
        format!("{:.1}k", spread.median / 1_000.0)
    };
    vec![
        row.name.into(),
        row.about.into(),
        bytes.to_string(),
        thousands(|round| &round.floor),
        thousands(|round| &round.hermes),
        spread(rounds.iter().map(Round::ratio)),
        row.target.to_string(),
        spread(rounds.iter().map(Round::ratio_by_clock)),
    ]
}

fn wait_figure(row: &Row, waits: &[Wait]) -> Vec<String> {
    let median = |side: fn(&Wait) -> Duration| {
        let seconds = waits.iter().map(|wait| side(wait).as_secs_f64());
        format!("{:.2}", Spread::of(seconds).median)
    };
    vec![
        row.name.into(),
        row.about.into(),
        median(|wait| wait.floor),
        median(|wait| wait.hermes),
        spread(waits.iter().map(Wait::ratio)),
    ]
}

fn spread(ratios: impl Iterator<Item = f64>) -> String {
    let Spread { median, min, max } = Spread::of(ratios);
    format!("{median:.3} ({min:.3}..{max:.3})")
}

/// Two lines: what a row measured on each side.
fn raw(row: &Row, rounds: &[Round]) -> [Vec<String>; 2] {
    let side = |name: &str, side: fn(&Round) -> &Sample| {
        let of =
            |value: fn(&Sample) -> f64| Spread::of(rounds.iter().map(|round| value(side(round))));
        let micros = of(|sample| 1e6 / sample.per_server_second());
        let requests: u64 = rounds.iter().map(|r| side(r).requests).sum();
        vec![
            row.name.into(),
            name.into(),
            format!("{:.0}", of(Sample::per_second).median),
            format!(
                "{:.2} ({:.2}..{:.2})",
                micros.median, micros.min, micros.max
            ),
            format!("{:.0} %", 100.0 * of(busy_server).median),
            format!("{:.0} %", 100.0 * of(busy_load).median),
            requests.to_string(),
        ]
    };
    [
        side("bare hyper", |round| &round.floor),
        side("Hermes", |round| &round.hermes),
    ]
}

fn busy_server(sample: &Sample) -> f64 {
    sample.server.as_secs_f64() / sample.wall.as_secs_f64()
}

fn busy_load(sample: &Sample) -> f64 {
    sample.load.as_secs_f64() / sample.wall.as_secs_f64()
}

fn load_share(sample: &Sample) -> f64 {
    sample.load.as_secs_f64() / sample.server.as_secs_f64()
}

fn row_json((row, measured): &(Row, Measured)) -> Value {
    match measured {
        Measured::Asked { bytes, rounds } => asked_json(row, *bytes, rounds),
        Measured::Waited { waits, facts } => {
            let facts = facts.iter().map(|(what, fact)| json!([what, fact]));
            let waits = waits.iter().map(|wait| {
                json!({
                    "ratio": wait.ratio(),
                    "floor_seconds": wait.floor.as_secs_f64(),
                    "hermes_seconds": wait.hermes.as_secs_f64(),
                })
            });
            json!({
                "name": row.name,
                "what": row.about,
                "facts": facts.collect::<Vec<Value>>(),
                "rounds": waits.collect::<Vec<Value>>(),
            })
        }
    }
}

fn asked_json(row: &Row, bytes: usize, rounds: &[Round]) -> Value {
    let ratio = Spread::of(rounds.iter().map(Round::ratio));
    let sample = |sample: &Sample| {
        json!({
            "requests": sample.requests,
            "wall_seconds": sample.wall.as_secs_f64(),
            "server_cpu_seconds": sample.server.as_secs_f64(),
            "load_cpu_seconds": sample.load.as_secs_f64(),
        })
    };
    let rounds = rounds.iter().map(|round| {
        json!({
            "ratio": round.ratio(),
            "ratio_by_clock": round.ratio_by_clock(),
            "floor": sample(&round.floor),
            "hermes": sample(&round.hermes),
        })
    });
    json!({
        "name": row.name,
        "request": row.about,
        "bytes": bytes,
        "aim": row.target,
        "ratio": {"median": ratio.median, "min": ratio.min, "max": ratio.max},
        "rounds": rounds.collect::<Vec<Value>>(),
    })
}

/// A table whose columns are as wide as what is in them.
fn table<const N: usize>(titles: &[&str; N], lines: &[Vec<String>]) -> String {
    let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    let width = |at: usize| {
        let cells = lines.iter().chain([&titles]).map(|line| line[at].len());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect();
    let show = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("| {} |", cells.join(" | "))
    };
    let all = [titles.clone(), rule]
        .into_iter()
        .chain(lines.iter().cloned());
    let shown: Vec<String> = all.map(|line| show(&line)).collect();
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(requests: u64, server_millis: u64) -> Sample {
        Sample {
            requests,
            wall: Duration::from_secs(2),
            server: Duration::from_millis(server_millis),
            load: Duration::from_millis(1_000),
        }
    }

    #[test]
    fn the_ratio_is_taken_round_by_round() {
        let rounds = vec![
            Round {
                floor: sample(200_000, 2_000),
                hermes: sample(80_000, 1_000),
            },
            Round {
                floor: sample(400_000, 2_000),
                hermes: sample(240_000, 2_000),
            },
        ];
        let row = &crate::rows::all()[0];
        assert_eq!(figure(row, 500, &rounds)[5], "0.700 (0.600..0.800)");
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let lines = vec![vec!["long".into(), "b".into()]];
        let expected = "| a    | bb |\n| ---- | -- |\n| long | b  |";
        assert_eq!(table(&["a", "bb"], &lines), expected);
    }
}
