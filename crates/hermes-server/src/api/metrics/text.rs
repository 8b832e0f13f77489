//! The text format that Prometheus reads (version 0.0.4).
//!
//! One family after another: what it is, what kind it is, then its samples. Written by hand, because
//! it is five rules, and what a library would add is a registry of its own beside our counters.

use std::fmt::{Display, Write};
use std::time::Duration;

/// The media type of the format.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that is being written.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
}

/// A family of a text, to which samples are added.
#[derive(Debug)]
pub(super) struct Family<'a> {
    out: &'a mut String,
    name: &'static str,
}

/// Labels, each with its name.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Text {
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out.into_bytes()
    }

    /// Begins a family. `help` is one line of ours, without a backslash.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        put(
            &mut self.out,
            format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
        );
        Family {
            out: &mut self.out,
            name,
        }
    }
}

impl Family<'_> {
    /// The only sample of a family without labels.
    pub(super) fn is(&mut self, value: impl Display) {
        self.of(&[], value);
    }

    /// A sample with labels.
    pub(super) fn of(&mut self, labels: Labels<'_>, value: impl Display) {
        self.sample("", labels, value);
    }

    /// The samples of a histogram: `counts` has one class for each of `bounds`, and one for what is
    /// beyond them all.
    pub(super) fn classes(
        &mut self,
        labels: Labels<'_>,
        bounds: impl Iterator<Item = Duration>,
        counts: &[u64],
        sum: Duration,
    ) {
        let mut seen = 0;
        let bounds = bounds.map(|bound| bound.as_secs_f64().to_string());
        for (bound, count) in bounds.chain(["+Inf".into()]).zip(counts) {
            seen += count;
            let labels = [labels, &[("le", bound.as_str())]].concat();
            self.sample("_bucket", &labels, seen);
        }
        self.sample("_sum", labels, sum.as_secs_f64());
        self.sample("_count", labels, seen);
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, value: impl Display) {
        let out = &mut *self.out;
        put(out, format_args!("{}{suffix}", self.name));
        for (at, (name, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            put(out, format_args!("{before}{name}=\"{}\"", escaped(value)));
        }
        if !labels.is_empty() {
            out.push('}');
        }
        put(out, format_args!(" {value}\n"));
    }
}

/// The value of a label: backslash, quote and line feed are written otherwise.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_what_the_format_asks_for() {
        let mut text = Text::default();
        text.gauge("revision", "The last change.").is(7);
        text.counter("errors_total", "Errors.")
            .of(&[("code", "a\"b\\\n"), ("x", "y")], 2);
        let bounds = [Duration::from_micros(50), Duration::from_secs(1)];
        text.histogram("time_seconds", "Time.").classes(
            &[("route", "/a")],
            bounds.into_iter(),
            &[1, 0, 2],
            Duration::from_millis(4_500),
        );
        let expected = r#"# HELP revision The last change.
# TYPE revision gauge
revision 7
# HELP errors_total Errors.
# TYPE errors_total counter
errors_total{code="a\"b\\\n",x="y"} 2
# HELP time_seconds Time.
# TYPE time_seconds histogram
time_seconds_bucket{route="/a",le="0.00005"} 1
time_seconds_bucket{route="/a",le="1"} 1
time_seconds_bucket{route="/a",le="+Inf"} 3
time_seconds_sum{route="/a"} 4.5
time_seconds_count{route="/a"} 3
"#;
        assert_eq!(String::from_utf8(text.into_bytes()).unwrap(), expected);
    }
}
