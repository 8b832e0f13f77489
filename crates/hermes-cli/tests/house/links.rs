//! Every relative link in our documents leads to a file that is there, and from the README they lead
//! to every page.

use std::collections::BTreeSet;

use crate::repo::{expect_none, files, read, root};

/// Documents at the root; those below `docs/` are found.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "STYLE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut documents: Vec<String> = DOCUMENTS.iter().map(|path| (*path).to_owned()).collect();
    documents.extend(files("docs", "md"));
    let faults: Vec<String> = documents
        .iter()
        .flat_map(|path| broken_links(path))
        .collect();
    expect_none(&faults, "Correct the link, or bring back what it spoke of.");
}

#[test]
fn every_page_is_reached_from_the_readme() {
    let pages = files("docs", "md");
    let mut reached = BTreeSet::new();
    let mut next = vec!["README.md".to_owned()];
    while let Some(path) = next.pop() {
        if !reached.insert(path.clone()) {
            continue;
        }
        // Whoever follows a link to a folder sees what is in it.
        let folder = format!("{path}/");
        let inside = pages.iter().filter(|page| page.starts_with(&folder));
        next.extend(inside.cloned());
        if path.ends_with(".md") {
            let text = read(&path).unwrap_or_default();
            let targets = links(&text).into_iter();
            next.extend(targets.map(|(_, target)| resolved(&path, target)));
        }
    }
    let faults: Vec<String> = pages
        .into_iter()
        .filter(|page| !reached.contains(page))
        .collect();
    expect_none(&faults, "Link it from where its readers come by.");
}

/// Where a link in a document leads, from the root.
fn resolved(document: &str, target: &str) -> String {
    let mut path: Vec<&str> = document.split('/').collect();
    path.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(path.pop()),
            _ => path.push(part),
        }
    }
    path.join("/")
}

fn broken_links(document: &str) -> Vec<String> {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let text = read(document).unwrap_or_default();
    links(&text)
        .into_iter()
        .filter(|(_, target)| !root().join(folder).join(target).exists())
        .map(|(line, target)| format!("{document}:{line}: `{target}` is not there"))
        .collect()
}

/// The files that a text links to, with their lines; code and addresses elsewhere are left out.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            found.extend(targets(line).into_iter().map(|target| (number, target)));
        }
    }
    found
}

/// What stands in `](...)`, and after `[name]:` at the beginning of a line.
fn targets(line: &str) -> Vec<&str> {
    let prose = line.split('`').step_by(2);
    let inline = prose.flat_map(|part| part.split("](").skip(1));
    let inline = inline.filter_map(|rest| rest.split([')', ' ']).next());
    let defined = line
        .strip_prefix('[')
        .and_then(|line| line.split_once("]: "));
    let defined = defined.and_then(|(_, target)| target.split_whitespace().next());
    inline
        .chain(defined)
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .filter_map(|target| target.split('#').next())
        .filter(|target| !target.is_empty())
        .collect()
}

#[test]
fn links_are_found_in_prose_and_not_in_code() {
    let prose = "see [a](x.md#part), [b](#here), [c](https://d) and `[e](f)`";
    let text = format!("{prose}\n```\n[g](h)\n```\n[i]: j/k.md");
    assert_eq!(links(&text), [(1, "x.md"), (5, "j/k.md")]);
}

#[test]
fn a_link_whose_words_are_code_is_a_link() {
    assert_eq!(
        links("see [`scripts/test`](scripts/test)"),
        [(1, "scripts/test")]
    );
}
