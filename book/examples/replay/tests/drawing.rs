//! The drawing of the first chapter shows the messages that the session below it shows, which was recorded on a real mount
//! and is replayed on one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use guide_replay::{Chapter, Step};

/// The texts between kernel and daemon, from top to bottom: `LOOKUP hello.txt in node 1`, and answers.
fn drawn() -> Vec<String> {
    let svg = include_str!("../../../src/img/cat.svg");
    let between = svg.lines().filter_map(|line| line.strip_prefix("<text x=\"285\""));
    let texts = between.filter_map(|rest| rest.split_once('>')?.1.split_once('<')).map(|(text, _)| text.to_owned());
    texts.skip_while(|text| text == "/dev/fuse").collect()
}

/// The requests and answers in what the chapter's session prints.
fn recorded() -> Vec<String> {
    let chapter = Chapter::read("what.md").unwrap();
    let lines = chapter.steps.into_iter().filter_map(|step| match step {
        Step::Command { expected, .. } if expected.contains("request=") => Some(expected),
        _ => None,
    });
    let lines = lines.collect::<String>();
    lines
        .lines()
        .filter_map(|line| line.split_once("request=").or_else(|| line.split_once("answer=")))
        .map(|(_, what)| what.to_owned())
        .collect()
}

#[test]
fn drawing_has_the_recorded_messages() {
    let (drawn, recorded) = (drawn(), recorded());
    assert_eq!(drawn.len(), recorded.len(), "{drawn:?} {recorded:?}");
    for (drawn, recorded) in drawn.iter().zip(&recorded) {
        let mut words = drawn.split([' ', ':', ',']);
        let first = words.next().unwrap();
        if first.chars().all(|letter| letter.is_ascii_uppercase()) && first != "ENOSYS" {
            let operation = recorded.split('(').next().unwrap();
            assert_eq!(first, operation.to_uppercase(), "{drawn}");
            // What is said of it is in the message: names, nodes, sizes.
            for word in words.filter(|word| word.contains('.') || word.parse::<u32>().is_ok()) {
                assert!(recorded.contains(word), "`{drawn}` has {word}, `{recorded}` has not");
            }
        } else {
            assert_eq!(first == "ENOSYS", recorded == "Error(ENOSYS)", "{drawn}: {recorded}");
            assert_eq!(first != "ENOSYS", recorded.starts_with("Body("), "{drawn}: {recorded}");
        }
    }
}
