//! How long: files, functions, lines.
//!
//! Called by `main`. It must never allow one file what another isn't: there are no exceptions by name.

use crate::source::Source;

/// Lines of a file; its median over all files of `src`.
const FILE: (usize, usize) = (500, 200);
/// Lines of a function, `fn` to brace; its median over all functions of `src`.
const FUNCTION: (usize, usize) = (70, 10);
/// A function over this many lines is long …
const LONG: usize = 50;
/// … and of a hundred functions so many may be.
const LONG_PER_HUNDRED: usize = 2;
/// Columns of a line.
const COLUMNS: usize = 120;

/// Files that are too long.
pub(crate) fn long_files(files: &[Source]) -> Vec<String> {
    let lengths = files.iter().map(|file| (file, file.text.lines().count()));
    let long = lengths.filter(|(_, length)| *length > FILE.0);
    long.map(|(file, length)| format!("{}: {length} lines, at most {}: divide it", file.path, FILE.0))
        .collect()
}

/// Functions that are too long.
pub(crate) fn long_functions(files: &[Source]) -> Vec<String> {
    let all =
        files.iter().flat_map(|file| file.functions().into_iter().map(move |function| (file, function)));
    let long = all.filter(|(_, function)| function.length > FUNCTION.0);
    long.map(|(file, f)| {
        format!("{}: `{}` has {} lines, at most {}", file.at(f.line), f.name, f.length, FUNCTION.0)
    })
    .collect()
}

/// Lines that are too wide.
pub(crate) fn wide_lines(files: &[Source]) -> Vec<String> {
    let all = files.iter().flat_map(|file| file.text.lines().enumerate().map(move |line| (file, line)));
    let widths = all.map(|(file, (line, text))| (file, line, text.chars().count()));
    let wide = widths.filter(|(_, _, width)| *width > COLUMNS);
    wide.map(|(file, line, width)| format!("{}: {width} columns, at most {COLUMNS}", file.at(line))).collect()
}

/// What holds over all of `src` together: the medians, and how many functions are long.
pub(crate) fn spread(files: &[Source]) -> Vec<String> {
    let functions: Vec<usize> = files.iter().flat_map(Source::functions).map(|f| f.length).collect();
    let long = functions.iter().filter(|length| **length > LONG).count();
    let file = median(files.iter().map(|file| file.text.lines().count()).collect());
    let function = median(functions.clone());
    let mut wrong = Vec::new();
    if file > FILE.1 {
        wrong.push(format!("the median file has {file} lines, at most {}", FILE.1));
    }
    if function > FUNCTION.1 {
        wrong.push(format!("the median function has {function} lines, at most {}", FUNCTION.1));
    }
    if long * 100 > functions.len() * LONG_PER_HUNDRED {
        wrong.push(format!("{long} of {} functions have over {LONG} lines, at most 2 %", functions.len()));
    }
    wrong
}

fn median(mut numbers: Vec<usize>) -> usize {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{long_files, long_functions, spread, wide_lines};
    use crate::source::Source;

    fn sample(text: &str) -> Vec<Source> {
        vec![Source::new("src/a.rs", text)]
    }

    #[test]
    fn a_file_of_501_lines_is_too_long() {
        assert!(long_files(&sample(&"x\n".repeat(500))).is_empty());
        assert_eq!(long_files(&sample(&"x\n".repeat(501))), ["src/a.rs: 501 lines, at most 500: divide it"]);
    }

    #[test]
    fn a_function_of_71_lines_is_too_long() {
        let function = |lines: usize| format!("\nfn f() {{\n{}}}\n", "x;\n".repeat(lines - 2));
        assert!(long_functions(&sample(&function(70))).is_empty());
        assert_eq!(long_functions(&sample(&function(71))), ["src/a.rs:2: `f` has 71 lines, at most 70"]);
    }

    #[test]
    fn a_line_of_121_columns_is_too_wide() {
        assert!(wide_lines(&sample(&"é".repeat(120))).is_empty());
        assert_eq!(wide_lines(&sample(&"é".repeat(121))), ["src/a.rs:1: 121 columns, at most 120"]);
    }

    #[test]
    fn medians_and_the_share_of_long_functions_are_held() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "x;\n".repeat(lines - 2));
        assert!(spread(&sample(&function(10))).is_empty());
        assert_eq!(spread(&sample(&function(11))).len(), 1);
        assert_eq!(spread(&sample(&(function(51) + &function(2).repeat(49)))).len(), 0);
        assert_eq!(spread(&sample(&(function(51) + &function(2).repeat(48)))).len(), 1);
        assert_eq!(spread(&sample(&"x\n".repeat(201))).len(), 1);
    }
}
