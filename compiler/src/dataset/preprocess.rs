//! Preprocessing: converts a photograph to a classifier's input.
//!
//! [`Preprocess`] is a recipe, written as one line of text. It resizes the shorter side to `resize` pixels (bilinear,
//! antialiased, like Pillow's `BILINEAR`), crops the central square of `crop` pixels (rounded like torchvision), orders
//! the channels as `color`, and computes `(pixel * scale - mean) / std` per channel in f32, rounding each operation.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use eightfold_ir::DType;
use half::f16;
use image::RgbImage;
use image::imageops::{self, FilterType};

/// A preprocessing recipe, parsed from the argument of `--preprocess`.
///
/// `resize=256,crop=224,color=rgb,scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225,layout=nchw,dtype=f32`: any
/// of these keys, in any order. Numbers may be fractions. `mean` and `std` take one number, or three separated by
/// colons in the order of `color`. Defaults: no resize, no crop, `rgb`, scale 1, mean 0, std 1, `nchw`, `f32`.
///
/// # Examples
/// ```
/// use eightfold::dataset::Preprocess;
/// // The recipes of torchvision, of Caffe, and of TensorFlow's quantized models.
/// for recipe in [
///     "resize=256,crop=224,color=rgb,scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225,layout=nchw,dtype=f32",
///     "resize=256,crop=224,color=bgr,scale=1,mean=104:117:123,std=1,layout=nchw,dtype=f32",
///     "resize=256,crop=224,color=rgb,scale=1,mean=0,std=1,layout=nhwc,dtype=u8",
/// ] {
///     assert_eq!(recipe.parse::<Preprocess>()?.to_string(), recipe);
/// }
/// # Ok::<(), eightfold::dataset::PreprocessError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    resize: Option<u32>,
    crop: Option<u32>,
    color: Color,
    scale: Fraction,
    mean: [Fraction; 3],
    std: [Fraction; 3],
    layout: ImageLayout,
    dtype: DType,
}

/// Largest side after resizing: an image a few pixels wide would otherwise fill the memory.
const LONGEST_SIDE: u32 = 16384;

/// Why an image's size does not fit a recipe.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageSizeError {
    /// The crop is larger than the image.
    #[error("expected at least {crop} x {crop} pixels to crop from, got {width} x {height}")]
    Small {
        /// The crop's side.
        crop: u32,
        /// The image's width after resizing.
        width: u32,
        /// The image's height after resizing.
        height: u32,
    },
    /// The longer side would become too long.
    #[error("expected at most {LONGEST_SIDE} pixels a side after resizing, got an image of {width} x {height}")]
    Narrow {
        /// The image's width.
        width: u32,
        /// The image's height.
        height: u32,
    },
}

/// Channel order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Color {
    Rgb,
    Bgr,
}

/// Axis order of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ImageLayout {
    Nchw,
    Nhwc,
}

/// A number as written. Numerator and denominator are separate, so that `x * 1/255` is `x / 255`, rounded once.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fraction {
    numerator: f32,
    denominator: f32,
}

impl Fraction {
    const fn whole(number: f32) -> Fraction {
        Fraction { numerator: number, denominator: 1.0 }
    }

    fn value(self) -> f32 {
        self.numerator / self.denominator
    }
}

/// Why a recipe is invalid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessError {
    /// A part is not of the form `key=value`, or its key is unknown.
    #[error(
        "expected KEY=VALUE with one of the keys resize, crop, color, scale, mean, std, layout, dtype; got `{got}`"
    )]
    Key {
        /// The part.
        got: String,
    },
    /// A key is given twice.
    #[error("expected `{key}` once, got it twice")]
    Duplicate {
        /// The key.
        key: String,
    },
    /// A value is invalid.
    #[error("{key}: expected {expected}, got `{got}`")]
    Value {
        /// The key.
        key: String,
        /// What the key expects.
        expected: &'static str,
        /// The value.
        got: String,
    },
    /// Pixels would not become integers of the type: `scale`, `mean` and `std` do not fit `dtype`.
    #[error("dtype: expected all pixels to be integers of type {dtype}, got {got} for pixel {pixel}")]
    NotRepresentable {
        /// The requested type.
        dtype: DType,
        /// A pixel's value before preprocessing.
        pixel: u8,
        /// Its value after preprocessing.
        got: f32,
    },
}

impl FromStr for Preprocess {
    type Err = PreprocessError;

    fn from_str(text: &str) -> Result<Self, PreprocessError> {
        let mut preprocess = Preprocess {
            resize: None,
            crop: None,
            color: Color::Rgb,
            scale: Fraction::whole(1.0),
            mean: [Fraction::whole(0.0); 3],
            std: [Fraction::whole(1.0); 3],
            layout: ImageLayout::Nchw,
            dtype: DType::F32,
        };
        let mut seen = Vec::new();
        for part in text.split(',') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(PreprocessError::Key { got: part.to_owned() });
            };
            if seen.contains(&key) {
                return Err(PreprocessError::Duplicate { key: key.to_owned() });
            }
            seen.push(key);
            let wrong = |expected| PreprocessError::Value { key: key.to_owned(), expected, got: value.to_owned() };
            let side = || match value.parse() {
                Ok(side @ 1..=4096) => Ok(Some(side)),
                _ => Err(wrong("a number of pixels, 1 to 4096")),
            };
            let expected_list = "a number or three with colons, such as 0.485:0.456:0.406";
            match key {
                "resize" => preprocess.resize = side()?,
                "crop" => preprocess.crop = side()?,
                "color" => {
                    preprocess.color = match value {
                        "rgb" => Color::Rgb,
                        "bgr" => Color::Bgr,
                        _ => return Err(wrong("rgb or bgr")),
                    }
                }
                "scale" => preprocess.scale = fraction(value).ok_or_else(|| wrong("a number such as 1/255"))?,
                "mean" => preprocess.mean = fractions(value).ok_or_else(|| wrong(expected_list))?,
                "std" => {
                    let std = fractions(value).ok_or_else(|| wrong(expected_list))?;
                    if std.iter().any(|std| std.value() == 0.0) {
                        return Err(wrong("numbers other than 0"));
                    }
                    preprocess.std = std;
                }
                "layout" => {
                    preprocess.layout = match value {
                        "nchw" => ImageLayout::Nchw,
                        "nhwc" => ImageLayout::Nhwc,
                        _ => return Err(wrong("nchw or nhwc")),
                    }
                }
                "dtype" => {
                    preprocess.dtype = match value {
                        "f32" => DType::F32,
                        "f16" => DType::F16,
                        "u8" => DType::U8,
                        "i8" => DType::I8,
                        _ => return Err(wrong("f32, f16, u8 or i8")),
                    }
                }
                _ => return Err(PreprocessError::Key { got: part.to_owned() }),
            }
        }
        preprocess.check_representable()?;
        Ok(preprocess)
    }
}

/// A finite number, or two separated by a slash.
fn fraction(text: &str) -> Option<Fraction> {
    let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
    let fraction = Fraction { numerator: numerator.parse().ok()?, denominator: denominator.parse().ok()? };
    let finite = fraction.numerator.is_finite() && fraction.denominator.is_finite() && fraction.value().is_finite();
    finite.then_some(fraction)
}

/// One number for all channels, or three separated by colons.
fn fractions(text: &str) -> Option<[Fraction; 3]> {
    let numbers: Vec<Fraction> = text.split(':').map(fraction).collect::<Option<_>>()?;
    match numbers[..] {
        [all] => Some([all; 3]),
        [first, second, third] => Some([first, second, third]),
        _ => None,
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.numerator)?;
        if self.denominator != 1.0 {
            write!(f, "/{}", self.denominator)?;
        }
        Ok(())
    }
}

/// The complete recipe with defaults; parses back to the same recipe.
impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |numbers: &[Fraction; 3]| match numbers {
            [first, second, third] if first == second && second == third => first.to_string(),
            [first, second, third] => format!("{first}:{second}:{third}"),
        };
        if let Some(resize) = self.resize {
            write!(f, "resize={resize},")?;
        }
        if let Some(crop) = self.crop {
            write!(f, "crop={crop},")?;
        }
        let color = if self.color == Color::Rgb { "rgb" } else { "bgr" };
        let layout = if self.layout == ImageLayout::Nchw { "nchw" } else { "nhwc" };
        let (mean, std) = (list(&self.mean), list(&self.std));
        write!(f, "color={color},scale={},mean={mean},std={std},layout={layout},dtype={}", self.scale, self.dtype)
    }
}

impl Preprocess {
    /// Element type of the result.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Shape of a preprocessed image without the batch axis; `None` without `crop`, because it depends on the image.
    pub fn shape(&self) -> Option<[usize; 3]> {
        self.crop.map(|side| self.shape_of(side, side))
    }

    fn shape_of(&self, width: u32, height: u32) -> [usize; 3] {
        match self.layout {
            ImageLayout::Nchw => [3, height as usize, width as usize],
            ImageLayout::Nhwc => [height as usize, width as usize, 3],
        }
    }

    /// The value of a pixel in a channel of the result.
    fn level(&self, channel: usize, pixel: u8) -> f32 {
        let scaled = f32::from(pixel) * self.scale.numerator / self.scale.denominator;
        (scaled - self.mean[channel].value()) / self.std[channel].value()
    }

    fn check_representable(&self) -> Result<(), PreprocessError> {
        let Some((min, max)) = self.dtype.integer_range() else { return Ok(()) };
        for channel in 0..3 {
            for pixel in 0..=u8::MAX {
                let level = self.level(channel, pixel);
                if level.fract() != 0.0 || !(min as f32..=max as f32).contains(&level) {
                    return Err(PreprocessError::NotRepresentable { dtype: self.dtype, pixel, got: level });
                }
            }
        }
        Ok(())
    }

    /// Applies the recipe; returns the bytes and the shape of the result.
    pub(super) fn apply(&self, image: &RgbImage) -> Result<(Vec<u8>, [usize; 3]), ImageSizeError> {
        let image = self.resized(image)?;
        let (width, height) = (image.width(), image.height());
        let (left, top, width, height) = match self.crop {
            None => (0, 0, width, height),
            Some(crop) if crop > width || crop > height => return Err(ImageSizeError::Small { crop, width, height }),
            Some(side) => (crop_offset(width, side), crop_offset(height, side), side, side),
        };
        // There are only 256 pixel values per channel: each is computed and converted once.
        let levels: [Vec<Vec<u8>>; 3] =
            [0, 1, 2].map(|channel| (0..=u8::MAX).map(|pixel| self.encode(self.level(channel, pixel))).collect());
        let from = |channel: usize| if self.color == Color::Rgb { channel } else { 2 - channel };
        let mut bytes = Vec::with_capacity((width * height) as usize * 3 * self.dtype.byte_size());
        let mut push = |channel: usize, x: u32, y: u32| {
            let pixel = image.get_pixel(left + x, top + y)[from(channel)];
            bytes.extend_from_slice(&levels[channel][usize::from(pixel)]);
        };
        match self.layout {
            ImageLayout::Nchw => (0..3).for_each(|channel| {
                (0..height).for_each(|y| (0..width).for_each(|x| push(channel, x, y)));
            }),
            ImageLayout::Nhwc => (0..height).for_each(|y| {
                (0..width).for_each(|x| (0..3).for_each(|channel| push(channel, x, y)));
            }),
        }
        Ok((bytes, self.shape_of(width, height)))
    }

    /// The image with its shorter side resized to `resize` and its longer side rounded down, like torchvision.
    fn resized<'a>(&self, image: &'a RgbImage) -> Result<Cow<'a, RgbImage>, ImageSizeError> {
        let (width, height) = image.dimensions();
        let short = width.min(height);
        let Some(side) = self.resize.filter(|&side| side != short) else { return Ok(Cow::Borrowed(image)) };
        let long = u64::from(side) * u64::from(width.max(height)) / u64::from(short.max(1));
        let long = match u32::try_from(long) {
            Ok(long) if short > 0 && long <= LONGEST_SIDE => long,
            _ => return Err(ImageSizeError::Narrow { width, height }),
        };
        let (width, height) = if width <= height { (side, long) } else { (long, side) };
        Ok(Cow::Owned(imageops::resize(image, width, height, FilterType::Triangle)))
    }

    fn encode(&self, level: f32) -> Vec<u8> {
        match self.dtype {
            DType::F16 => f16::from_f32(level).to_le_bytes().to_vec(),
            DType::U8 => vec![level as u8],
            DType::I8 => (level as i8).to_le_bytes().to_vec(),
            _ => level.to_le_bytes().to_vec(),
        }
    }
}

/// Offset of a central crop: half of the remainder, rounded half to even like Python's `round`.
fn crop_offset(size: u32, crop: u32) -> u32 {
    (f64::from(size - crop) / 2.0).round_ties_even() as u32
}
