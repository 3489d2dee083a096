//! A text as examples of next characters.

use std::collections::BTreeMap;

use super::examples::Sequences;

/// Characters that a network reads before it says the next.
const LENGTH: usize = 32;
/// Characters that a network knows; the token 0 stands for all others.
const MOST_CHARACTERS: usize = 95;
/// Of a hundred windows, so many are for validation, and as many for the test.
const HELD_OUT_PERCENT: usize = 5;
/// With more windows to validate on, an evaluation would take longer than an epoch of a quick run.
const MOST_HELD_OUT: usize = 500;
/// With fewer windows, the parts that are held out say nothing.
const FEWEST: usize = 100;

/// Why a text cannot be learned from.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TextError {
    #[error("is not UTF-8 at byte {at}")]
    NotUtf8 { at: usize },
    #[error("has {found} characters; at least {expected} are needed")]
    Short { expected: usize, found: usize },
}

/// The parts of a text and the number of tokens.
pub(super) struct Text {
    pub(super) parts: [Sequences; 3],
    pub(super) vocabulary: usize,
}

/// Cuts a text into windows: the first nine tenths to learn from, what follows to validate on, the end to test with. Only the first part
/// says which characters are known.
pub(super) fn parts(bytes: &[u8]) -> Result<Text, TextError> {
    let text = std::str::from_utf8(bytes).map_err(|error| TextError::NotUtf8 { at: error.valid_up_to() })?;
    let characters: Vec<char> = text.chars().collect();
    let windows = characters.len().saturating_sub(1) / LENGTH;
    if windows < FEWEST {
        return Err(TextError::Short { expected: FEWEST * LENGTH + 1, found: characters.len() });
    }
    let held_out = windows * HELD_OUT_PERCENT / 100;
    let train = windows - 2 * held_out;
    let known = known(characters.get(..train * LENGTH).unwrap_or_default());
    let tokens: Vec<u8> = characters.iter().map(|it| known.get(it).copied().unwrap_or(0)).collect();
    let part = |from: usize, count: usize, most: usize| {
        // Evenly spread, so that a part that is cut down is of the whole of it.
        let every = count.div_ceil(most).max(1);
        let starts = (from..from + count).step_by(every).map(|window| window * LENGTH);
        let window = |start: usize| tokens.get(start..start + LENGTH + 1).unwrap_or_default();
        Sequences { length: LENGTH, asked_from: 0, tokens: starts.flat_map(window).copied().collect() }
    };
    let parts =
        [part(0, train, train), part(train, held_out, MOST_HELD_OUT), part(train + held_out, held_out, MOST_HELD_OUT)];
    Ok(Text { parts, vocabulary: known.len() + 1 })
}

/// Tokens, from 1, of the most frequent characters.
fn known(characters: &[char]) -> BTreeMap<char, u8> {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for character in characters {
        *counts.entry(*character).or_default() += 1;
    }
    let mut ranked: Vec<(char, usize)> = counts.into_iter().collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    ranked.into_iter().take(MOST_CHARACTERS).zip(1..).map(|((character, _), token)| (character, token)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(windows: usize) -> String {
        (0..=windows * LENGTH).map(|at| char::from(b'a' + (at % 26) as u8)).collect()
    }

    #[test]
    fn windows_follow_each_other_and_parts_do_not_overlap() {
        let text = parts(counting(200).as_bytes()).unwrap();
        assert_eq!(text.parts.each_ref().map(Sequences::len), [180, 10, 10]);
        assert_eq!(text.vocabulary, 27);
        let windows = text.parts.iter().flat_map(|part| part.tokens.chunks_exact(LENGTH + 1));
        let windows: Vec<_> = windows.collect();
        // The last character of a window is read by the next one as its first, and is asked only once.
        assert!(windows.windows(2).all(|pair| pair[0].last() == pair[1].first()));
    }

    #[test]
    fn a_character_that_was_not_learned_is_the_token_0() {
        let mut text = counting(200);
        text.truncate(text.len() - 1);
        text.push('ß');
        let text = parts(text.as_bytes()).unwrap();
        assert_eq!(text.vocabulary, 27);
        assert_eq!(text.parts[2].tokens.last(), Some(&0));
        assert!(text.parts[0].tokens.iter().all(|token| *token > 0));
    }

    #[test]
    fn many_characters_are_cut_to_the_most_frequent() {
        let rare: String = (0..300_u32).filter_map(|at| char::from_u32(0x4e00 + at)).collect();
        let text = parts((rare + &counting(300)).as_bytes()).unwrap();
        assert_eq!(text.vocabulary, MOST_CHARACTERS + 1);
        assert!(text.parts.iter().all(|part| part.tokens.iter().all(|token| usize::from(*token) < text.vocabulary)));
        // All 26 letters are among them.
        assert!(text.parts[2].tokens.iter().all(|token| *token > 0));
    }

    #[test]
    fn bytes_that_are_no_text_are_named() {
        assert_eq!(parts(b"ab\xff").err(), Some(TextError::NotUtf8 { at: 2 }));
        assert_eq!(parts(b"short").err(), Some(TextError::Short { expected: 3201, found: 5 }));
        assert_eq!(parts(b"").err(), Some(TextError::Short { expected: 3201, found: 0 }));
    }
}
