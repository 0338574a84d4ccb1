//! Why a request is refused before any backend is asked: a closed list with status and reason.
//!
//! `server::framing` finds what is wrong with the bytes, `proxy::admit` what is wrong with the request they
//! make. Pure. It must never carry anything of the request itself: reasons are labels of metrics.

use http::StatusCode;

/// What is wrong with a request (RFC 9112 unless another source stands with it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A line ended by LF alone (section 2.2: a recipient may accept it; smuggling lives on it).
    BareLf,
    /// CR without LF (section 2.2).
    BareCr,
    /// NUL or another control character in the head.
    ControlCharacter,
    /// A request line that isn't `method SP target SP version`.
    RequestLine,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
    /// CONNECT and TRACE are not for a reverse proxy.
    Method,
    /// A target that is neither a path, an absolute http URI, nor `*` for OPTIONS.
    Target,
    /// A target over `limits.target_size`.
    TargetTooLong,
    /// White space between a field's name and its colon (section 5.1).
    SpaceBeforeColon,
    /// A field continued on the next line (section 5.2).
    ObsFold,
    /// A field whose name isn't a token, or without a colon.
    FieldName,
    /// A head over `limits.head_size`.
    HeadTooLarge,
    /// More fields than `limits.header_count`.
    TooManyFields,
    /// No `Host` in HTTP/1.1 (section 3.2).
    HostMissing,
    /// More than one `Host` (section 3.2).
    HostSeveral,
    /// A `Host` other than `:authority` (RFC 9113 section 8.3.1).
    HostDiffers,
    /// A `Host` that is no authority.
    HostInvalid,
    /// `Content-Length` beside `Transfer-Encoding` (section 6.1).
    LengthWithEncoding,
    /// A `Content-Length` that isn't digits below 2^53, or several that differ (section 6.3).
    ContentLength,
    /// A `Transfer-Encoding` other than `chunked`, once, in HTTP/1.1 (section 6.1).
    TransferEncoding,
    /// A chunked body that isn't one (section 7.1).
    ChunkedBody,
    /// An `Expect` other than `100-continue` (RFC 9110 section 10.1.1).
    Expectation,
    /// A body over `limits.body_size`.
    BodyTooLarge,
    /// A head that took longer than `timeouts.request_head`.
    HeadTimeout,
    /// A body without a byte for `timeouts.idle_body`.
    BodyTimeout,
    /// A visitor who doesn't take its answer: nothing for `timeouts.idle_body`, or less than `limits.min_rate`.
    SlowReader,
    /// A body that ended before its length.
    BodyBroken,
    /// No route has this host and path.
    NoRoute,
}

impl Refusal {
    /// Every refusal, for metrics that exist before the first one.
    pub const ALL: [Self; 28] = [
        Self::BareLf,
        Self::BareCr,
        Self::ControlCharacter,
        Self::RequestLine,
        Self::Version,
        Self::Method,
        Self::Target,
        Self::TargetTooLong,
        Self::SpaceBeforeColon,
        Self::ObsFold,
        Self::FieldName,
        Self::HeadTooLarge,
        Self::TooManyFields,
        Self::HostMissing,
        Self::HostSeveral,
        Self::HostDiffers,
        Self::HostInvalid,
        Self::LengthWithEncoding,
        Self::ContentLength,
        Self::TransferEncoding,
        Self::ChunkedBody,
        Self::Expectation,
        Self::BodyTooLarge,
        Self::HeadTimeout,
        Self::BodyTimeout,
        Self::SlowReader,
        Self::BodyBroken,
        Self::NoRoute,
    ];

    /// Every reason.
    pub const REASONS: [&str; Self::ALL.len()] = {
        let mut reasons = [""; Self::ALL.len()];
        let mut at = 0;
        while at < reasons.len() {
            assert!(Self::ALL[at] as usize == at, "ALL is in the order of the variants");
            reasons[at] = Self::ALL[at].reason();
            at += 1;
        }
        reasons
    };

    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTimeout | Self::BodyTimeout | Self::SlowReader => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::BareLf
            | Self::BareCr
            | Self::ControlCharacter
            | Self::RequestLine
            | Self::Target
            | Self::SpaceBeforeColon
            | Self::ObsFold
            | Self::FieldName
            | Self::HostMissing
            | Self::HostSeveral
            | Self::HostDiffers
            | Self::HostInvalid
            | Self::LengthWithEncoding
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::ChunkedBody
            | Self::BodyBroken => StatusCode::BAD_REQUEST,
        }
    }

    /// The label in metrics, access records and `X-Crossfade-Error`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::ControlCharacter => "control_character",
            Self::RequestLine => "request_line",
            Self::Version => "version",
            Self::Method => "method",
            Self::Target => "target",
            Self::TargetTooLong => "target_too_long",
            Self::SpaceBeforeColon => "space_before_colon",
            Self::ObsFold => "obs_fold",
            Self::FieldName => "field_name",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::HostMissing => "host_missing",
            Self::HostSeveral => "host_several",
            Self::HostDiffers => "host_differs",
            Self::HostInvalid => "host_invalid",
            Self::LengthWithEncoding => "length_with_encoding",
            Self::ContentLength => "content_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::ChunkedBody => "chunked_body",
            Self::Expectation => "expectation",
            Self::BodyTooLarge => "body_too_large",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::SlowReader => "slow_reader",
            Self::BodyBroken => "body_broken",
            Self::NoRoute => "no_route",
        }
    }

    /// Whether the connection ends with it: always, but where there is only no route. Who sends what is refused isn't
    /// worth reading on, and mostly what follows can't be framed.
    pub fn closes(self) -> bool {
        !matches!(self, Self::NoRoute)
    }
}
