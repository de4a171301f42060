//! Decompresses pages, each into the memory that its header states and no more.
//!
//! The compressed bytes of a damaged page can decompress to gigabytes. Every function here stops at the stated size.

use std::io::Read;

/// A compression of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Brotli,
    /// LZ4 in the frames of Hadoop; also written with LZ4's own frames, or none.
    Lz4,
    Zstd,
    Lz4Raw,
}

impl Codec {
    /// Returns the codec with a number in `parquet.thrift`, or the name of one that is not supported.
    pub(super) fn from_number(number: i32) -> Result<Codec, String> {
        match number {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Snappy),
            2 => Ok(Codec::Gzip),
            3 => Err("LZO".to_owned()),
            4 => Ok(Codec::Brotli),
            5 => Ok(Codec::Lz4),
            6 => Ok(Codec::Zstd),
            7 => Ok(Codec::Lz4Raw),
            other => Err(format!("number {other}")),
        }
    }

    /// Decompresses `input`, which is said to have `size` bytes when decompressed.
    ///
    /// # Errors
    /// If `input` is not compressed so, or decompresses to another size.
    pub(super) fn decompress(self, input: &[u8], size: usize) -> Result<Vec<u8>, String> {
        let output = match self {
            Codec::None => input.to_vec(),
            Codec::Snappy => {
                let stated = snap::raw::decompress_len(input).map_err(|e| e.to_string())?;
                if stated != size {
                    return Err(other_size(stated, size));
                }
                let mut output = vec![0; size];
                let length =
                    snap::raw::Decoder::new().decompress(input, &mut output).map_err(|e| e.to_string())?;
                output.truncate(length);
                output
            }
            Codec::Gzip => at_most(flate2::read::MultiGzDecoder::new(input), size)?,
            Codec::Brotli => at_most(brotli::Decompressor::new(input, 4096), size)?,
            Codec::Zstd => zstd::bulk::decompress(input, size).map_err(|e| e.to_string())?,
            Codec::Lz4Raw => lz4_block(input, size)?,
            Codec::Lz4 => hadoop(input, size)
                .or_else(|_| at_most(lz4_flex::frame::FrameDecoder::new(input), size))
                .or_else(|_| lz4_block(input, size))?,
        };
        if output.len() == size { Ok(output) } else { Err(other_size(output.len(), size)) }
    }
}

/// Returns the error for a page that decompresses to another size than its header states.
fn other_size(found: usize, stated: usize) -> String {
    format!("it decompresses to {found} bytes, and its header states {stated}")
}

/// Reads at most one byte more than `size`, which shows that there are more.
fn at_most(input: impl Read, size: usize) -> Result<Vec<u8>, String> {
    let mut output = Vec::new();
    input.take(size as u64 + 1).read_to_end(&mut output).map_err(|e| e.to_string())?;
    if output.len() > size {
        return Err(format!("it decompresses to more than the {size} bytes that its header states"));
    }
    Ok(output)
}

fn lz4_block(input: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let mut output = vec![0; size];
    let length = lz4_flex::block::decompress_into(input, &mut output).map_err(|e| e.to_string())?;
    output.truncate(length);
    Ok(output)
}

/// Decompresses frames of Hadoop: the decompressed and the compressed length in four bytes each, the most significant first,
/// then a block.
fn hadoop(mut input: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let mut output = vec![0; size];
    let mut filled = 0;
    while let Some((lengths, rest)) = input.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *lengths;
        let (decompressed, compressed) =
            (u32::from_be_bytes([a, b, c, d]) as usize, u32::from_be_bytes([e, f, g, h]) as usize);
        let (block, after) = rest.split_at_checked(compressed).ok_or("a frame is cut off")?;
        let end = filled + decompressed;
        let into = output.get_mut(filled..end).ok_or("the frames have more bytes than are stated")?;
        let length = lz4_flex::block::decompress_into(block, into).map_err(|e| e.to_string())?;
        if length != decompressed {
            return Err(other_size(length, decompressed));
        }
        (input, filled) = (after, end);
    }
    if !input.is_empty() {
        return Err("bytes follow the last frame".to_owned());
    }
    output.truncate(filled);
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// The compressed forms of a million zeros, each by its own crate.
    fn compressed(zeros: &[u8]) -> Vec<(Codec, Vec<u8>)> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(zeros).expect("written");
        let mut brotli = Vec::new();
        brotli::CompressorWriter::new(&mut brotli, 4096, 5, 22).write_all(zeros).expect("written");
        let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
        frame.write_all(zeros).expect("written");
        let raw = lz4_flex::block::compress(zeros);
        let lengths = [zeros.len() as u32, raw.len() as u32].map(u32::to_be_bytes).concat();
        vec![
            (Codec::None, zeros.to_vec()),
            (Codec::Snappy, snap::raw::Encoder::new().compress_vec(zeros).expect("compressed")),
            (Codec::Gzip, gzip.finish().expect("compressed")),
            (Codec::Brotli, brotli),
            (Codec::Zstd, zstd::bulk::compress(zeros, 3).expect("compressed")),
            (Codec::Lz4, [&lengths[..], &raw].concat()),
            (Codec::Lz4, frame.finish().expect("compressed")),
            (Codec::Lz4, raw.clone()),
            (Codec::Lz4Raw, raw),
        ]
    }

    #[test]
    fn every_codec_gives_the_bytes_and_no_more_than_stated() {
        let zeros = vec![0; 1_000_000];
        for (codec, bytes) in compressed(&zeros) {
            assert_eq!(codec.decompress(&bytes, zeros.len()), Ok(zeros.clone()), "{codec:?}");
            for size in [0, 999_999, 1_000_001] {
                assert!(codec.decompress(&bytes, size).is_err(), "{codec:?}, {size}");
            }
        }
    }
}
