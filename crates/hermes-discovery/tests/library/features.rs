//! Each feature builds alone, and so does the crate without any.
//!
//! Only checked, not built: what is shared with the tests' own dependencies is there already.

use std::process::Command;

#[test]
fn each_feature_builds_alone() {
    for features in ["", "yaml", "testing"] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "check",
            "--quiet",
            "--lib",
            "--locked",
            "--no-default-features",
        ]);
        cargo
            .args(["--features", features])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = cargo.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "with the features `{features}`: {text}"
        );
        assert!(
            !text.contains("warning"),
            "with the features `{features}`: {text}"
        );
    }
}
