//! Compares what a command printed with what the guide says: `[..]` stands for any part of a line, a line `...` for any
//! number of lines. Spaces at the end of a line do not count.

/// Where the first difference is; `None` if there is none.
#[must_use]
pub fn difference(expected: &str, printed: &str) -> Option<String> {
    let expected: Vec<&str> = expected.lines().map(str::trim_end).collect();
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    if lines(&expected, &printed) {
        return None;
    }
    // With lines left out, the places do not say which line belongs to which.
    if expected.contains(&"...") {
        let matched = |pattern: &&&str| **pattern == "..." || printed.iter().any(|text| line(pattern, text));
        let odd = expected.iter().find(|pattern| !matched(pattern));
        return Some(match odd {
            Some(pattern) => format!("no line is like `{pattern}`"),
            None => "the lines are there, but not in this order, or with others between".to_owned(),
        });
    }
    let odd = expected.iter().zip(&printed).find(|(pattern, text)| !line(pattern, text));
    Some(match odd {
        Some((pattern, text)) => format!("expected `{pattern}`, found `{text}`"),
        None => format!("expected {} lines, found {}", expected.len(), printed.len()),
    })
}

fn lines(expected: &[&str], printed: &[&str]) -> bool {
    match (expected.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), None) => lines(rest, printed),
        (Some((&"...", rest)), Some((_, tail))) => lines(rest, printed) || lines(expected, tail),
        (Some((pattern, rest)), Some((text, tail))) => line(pattern, text) && lines(rest, tail),
        _ => false,
    }
}

fn line(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once("[..]") else {
        return pattern == text;
    };
    let Some(mut tail) = text.strip_prefix(start) else {
        return false;
    };
    loop {
        if line(rest, tail) {
            return true;
        }
        let mut characters = tail.chars();
        if characters.next().is_none() {
            return false;
        }
        tail = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_parts_of_lines_and_for_lines() {
        for (expected, printed) in [
            ("a\nb\n", "a\nb\n"),
            ("a [..] c\n", "a b b c\n"),
            ("[..]\n", "\n"),
            ("...\nc\n", "a\nb\nc\n"),
            ("...\n", ""),
            ("a\n...\nd\n...\n", "a\nd\ne\n"),
        ] {
            assert_eq!(difference(expected, printed), None, "{expected:?} {printed:?}");
        }
        for (expected, printed) in [("a\n", ""), ("", "a\n"), ("a [..] c\n", "a b\n"), ("...\nc\n", "a\nb\n")] {
            assert!(difference(expected, printed).is_some(), "{expected:?} {printed:?}");
        }
    }
    #[test]
    fn difference_names_the_line_that_is_not_there() {
        assert_eq!(difference("...\nb\nd\n", "a\nb\nc\n").unwrap(), "no line is like `d`");
        let order = difference("...\nb\nc\n", "c\nb\n").unwrap();
        assert_eq!(order, "the lines are there, but not in this order, or with others between");
        assert_eq!(difference("a\nb\n", "a\nc\n").unwrap(), "expected `b`, found `c`");
    }
}
