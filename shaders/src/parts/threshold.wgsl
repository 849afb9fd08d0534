// The bits of the scores below the greatest that is selected, and of some of its equals: those in the lowest columns.
// The kernel declares the binding `mask`.

//!include score_rows
//!include mask

// The words that an invocation owns: whole ones, so that no two write to one.
struct Words {
    first: u32,
    end: u32,
}

fn own_words(invocation: u32) -> Words {
    let per_invocation = (words() + SIZE - 1u) / SIZE;
    let first = min(invocation * per_invocation, words());
    return Words(first, min(first + per_invocation, words()));
}

// How many of the words' scores have this key.
fn count_ties(row: u32, own: Words, threshold: u32) -> u32 {
    let start = scores_start(row);
    var count = 0u;
    for (var column = own.first * 32u; column < min(own.end * 32u, p.cols); column++) {
        count += u32(key(score(start + column, column)) == threshold);
    }
    return count;
}

// Writes the words, with as many ties as there are and are wanted.
fn mark(row: u32, own: Words, threshold: u32, wanted: u32) {
    let start = scores_start(row);
    var left = wanted;
    for (var word = own.first; word < own.end; word++) {
        var bits = 0u;
        let columns = columns_of(word);
        for (var bit = 0u; bit < columns; bit++) {
            let column = word * 32u + bit;
            let k = key(score(start + column, column));
            let tie = k == threshold && left > 0u;
            left -= u32(tie);
            bits |= u32(k < threshold || tie) << bit;
        }
        mask[mask_start(row) + word] = bits;
    }
}
