"""What a file is by its bytes, against what its type and its name say. Knows no database, no bucket, no HTTP.

`FAMILIES` is the table of the rules, `MAGIC` that of the bytes. What no family has is no claim: it passes as it says it is.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

import puremagic.main
from django.utils.translation import gettext as _

from .names import UNKNOWN
from .reasons import Reason

FIRST = 8192  # bytes
LAST = 65_557  # bytes; the end of a zip (22) with the longest comment (65,535)

TEXT = "text/plain"
PDF = "application/pdf"
ZIP = "application/zip"
OLE = "application/x-ole-storage"
HTML, SVG, XML, SCRIPT = "text/html", "image/svg+xml", "application/xml", "text/x-script"
WRITTEN = (TEXT, HTML, SVG, XML, SCRIPT, "application/rtf", "application/postscript")  # bytes that are text

# --- what bytes say -----------------------------------------------------------------------------------------------------

# The first bytes of a file, as patterns of which the first that fits wins. What is not here is named by puremagic's data,
# which knows more formats, some of them by two bytes, so that it refuses nothing by itself.
MAGIC = {
    PDF: rb"(?:\xef\xbb\xbf)?\s{0,64}%PDF-|\x1b%-12345X@PJL.{0,1000}?%PDF-",
    # Pictures
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/jpeg": rb"\xff\xd8\xff",
    "image/gif": rb"GIF8[79]a",
    "image/webp": rb"RIFF.{4}WEBP",
    "image/avif": rb"\0{2}.{2}ftyp(?:avi[fs]|(?:mif1|msf1|miaf).{4}(?:.{4}){0,8}?avi[fs])",
    "image/heic": rb"\0{2}.{2}ftyp(?:hei[cxms]|hev[cxms]|mif[12]|msf1|miaf)",
    "image/tiff": rb"II[*+]\0|MM\0[*+]",
    "image/bmp": rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "image/vnd.microsoft.icon": rb"\0\0[\x01\x02]\0[\x01-\xff]\0.{3}\0",
    "image/vnd.adobe.photoshop": rb"8BPS\0[\x01\x02]",
    "image/jxl": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
    "image/jp2": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    # Sound and video
    "audio/mp4": rb"\0{2}.{2}ftyp(?:M4[ABP] |F4[AB] )",
    "video/3gpp": rb"\0{2}.{2}ftyp3g",
    "video/quicktime": rb"\0{2}.{2}(?:ftypqt  |free|skip)|[\0-\x1f].{3}(?:moov|mdat|wide|pnot)",
    "image/x-canon-cr3": rb"\0{2}.{2}ftypcrx ",
    "video/mp4": rb"\0{2}.{2}ftyp",
    "video/webm": rb"\x1a\x45\xdf\xa3.{1,64}?\x42\x82.{1,8}?webm",
    "video/x-matroska": rb"\x1a\x45\xdf\xa3",
    "video/x-msvideo": rb"RIFF.{4}AVI ",
    "video/x-ms-asf": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "video/x-flv": rb"FLV\x01",
    "video/mpeg": rb"\0\0\x01[\xb3\xba]",
    "video/mp2t": rb"G.{187}G.{187}G|.{4}G.{191}G.{191}G",
    "audio/wav": rb"(?:RIFF|RIFX|RF64|BW64).{4}WAVE",
    "audio/flac": rb"fLaC",
    "audio/ogg": rb"OggS\0",
    "audio/aiff": rb"FORM.{4}AIF[FC]",
    "audio/midi": rb"MThd\0\0\0\x06|RIFF.{4}RMID",
    "audio/basic": rb"\.snd\0",
    "audio/amr": rb"#!AMR",
    "audio/x-caf": rb"caff\0",
    "audio/mpeg": rb"ID3[\x02-\x04]",
    # Archives, and documents that are archives
    "application/vnd.android.package-archive": rb"PK\x03\x04.{26}(?:AndroidManifest\.xml|classes\.dex)",
    "application/java-archive": rb"PK\x03\x04.{26}META-INF/.{0,80}?MANIFEST\.MF",
    ZIP: rb"PK(?:\x03\x04|\x05\x06|\x07\x08|00PK\x03\x04)",
    "application/gzip": rb"\x1f\x8b\x08",
    "application/x-bzip2": rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)",
    "application/x-xz": rb"\xfd7zXZ\0",
    "application/zstd": rb"(?:\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18)",
    "application/x-lz4": rb"\x04\x22\x4d\x18",
    "application/x-lzip": rb"LZIP[\0\x01]",
    "application/x-compress": rb"\x1f[\x9d\xa0]",
    "application/x-7z-compressed": rb"7z\xbc\xaf\x27\x1c",
    "application/vnd.rar": rb"Rar!\x1a\x07",
    "application/vnd.ms-cab-compressed": rb"MSCF\0{4}|ISc\(",
    "application/x-archive": rb"!<(?:arch|thin)>\n",
    "application/x-rpm": rb"\xed\xab\xee\xdb",
    "application/x-xar": rb"xar!\0",
    # Documents and data
    OLE: rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "application/msword": rb"\xdb\xa5[\x2d-\x68]\0|\xfe\x37\0\x23|\x31\xbe\0\0|\x9b\xa5|\xec\xa5\xc1\0",  # before OLE
    "application/vnd.ms-excel": rb"\x09[\0\x02\x04\x08][\x04-\x10]\0",  # before OLE
    "application/rtf": rb"(?:\xef\xbb\xbf)?\s{0,8}\{\\rt",
    "application/postscript": rb"\x04?%!PS|\xc5\xd0\xd3\xc6|\x1b%-12345X@PJL.{0,1000}?%!PS",
    "application/vnd.sqlite3": rb"SQLite format 3\0",
    "application/vnd.apache.parquet": rb"PAR[1E][\0-\x1f]",
    "application/wasm": rb"\0asm",
    "application/x-msaccess": rb"\0\x01\0\0Standard (?:Jet|ACE) DB",
    "application/x-hdf5": rb"\x89HDF\r\n\x1a\n",
    "application/x-ms-shortcut": rb"L\0\0\0\x01\x14\x02\0",
    "application/vnd.ms-htmlhelp": rb"ITSF\x03\0",
    "application/x-mobipocket-ebook": rb".{60}BOOKMOBI",
    # The preamble may be a TIFF's, so that both kinds of reader can open it. A program there is a polyglot (CVE-2019-11687).
    "application/dicom": rb"(?!MZ|\x7fELF).{128}DICM",
    # Fonts
    "font/ttf": rb"\0\x01\0\0\0[\x01-\x7f]|true\0|typ1\0",
    "font/otf": rb"OTTO\0",
    "font/collection": rb"ttcf\0[\x01\x02]",
    "font/woff": rb"wOFF",
    "font/woff2": rb"wOF2",
    # Programs
    "application/vnd.microsoft.portable-executable": rb"MZ(?:.[\0\x01].{5}[\0-\x0f]|.{30,4000}?PE\0\0)",
    "application/x-elf": rb"\x7fELF",
    "application/x-mach-binary": rb"\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba[\xbe\xbf]\0\0\0[\x01-\x1e]",
    "application/java-vm": rb"\xca\xfe\xba\xbe|\xca\xfe\xd0\x0d",
    "application/vnd.android.dex": rb"dex\n0\d\d\0",
}
UNCLAIMED = (UNKNOWN, "application/x-msdos-program")  # what a program may be declared as that has no family
PROGRAMS = {
    "application/vnd.microsoft.portable-executable",
    "application/x-elf",
    "application/x-mach-binary",
    "application/java-vm",
    "application/vnd.android.dex",
    "application/x-ms-shortcut",
}

# --- what types and names claim -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Family:
    """Files of one kind: whoever claims a type or an extension of it must show one of its kinds of bytes."""

    name: str
    extensions: str  # with spaces between
    types: str  # its own, with * as in a shell
    shows: str  # what the bytes may be, in the words of MAGIC; text/plain is any text, of whatever it is the source
    also: str = ""  # types that its extensions are honestly declared as too, and that mean another family without one
    guarded: bool = False  # nothing else may hide in it or behind its end: it is shown, or played, inside of pages
    source: bool = False  # scripts are what it is for


FAMILIES = (
    # Pictures
    Family("JPEG", "jpg jpeg jpe jfif pjpeg pjp mpo", "image/jpeg image/jpg image/pjpeg image/mpo", "image/jpeg", guarded=True),
    Family("PNG", "png apng", "image/png image/x-png image/apng image/vnd.mozilla.apng", "image/png", guarded=True),
    Family("GIF", "gif", "image/gif", "image/gif", guarded=True),
    Family("WebP", "webp", "image/webp", "image/webp", guarded=True),
    Family(
        "HEIC and AVIF",
        "heic heif heics heifs hif avif avifs",
        "image/heic image/heif image/heic-sequence image/heif-sequence image/avif image/avif-sequence",
        "image/heic image/avif",
        guarded=True,
    ),
    Family("TIFF", "tif tiff btf tf8", "image/tiff image/tiff-fx image/x-tiff image/tif", "image/tiff", guarded=True),
    Family("BMP", "bmp dib", "image/bmp image/x-bmp image/x-ms-bmp image/x-windows-bmp", "image/bmp", guarded=True),
    Family(
        "Icon",
        "ico cur",
        "image/x-icon image/vnd.microsoft.icon image/ico image/x-ico",
        "image/vnd.microsoft.icon image/png",
        guarded=True,
    ),
    Family("JPEG XL", "jxl", "image/jxl", "image/jxl", guarded=True),
    Family("JPEG 2000", "jp2 jpx jpm j2k j2c jpc", "image/jp2 image/jpx image/jpm image/j2k", "image/jp2", guarded=True),
    Family(
        "Photoshop",
        "psd psb",
        "image/vnd.adobe.photoshop image/x-photoshop image/psd image/x-psd application/x-photoshop application/photoshop",
        "image/vnd.adobe.photoshop",
        guarded=True,
    ),
    Family(
        "OpenRaster",
        "ora",
        "image/openraster image/x-openraster",
        ZIP,
        also="application/zip application/x-zip-compressed",
    ),
    Family("SVG", "svg", "image/svg+xml image/svg", f"{SVG} {XML}", also="text/xml application/xml text/plain", source=True),
    Family(
        "Packed SVG",
        "svgz",
        "image/svg+xml-compressed",
        "application/gzip",
        also="image/svg+xml application/gzip application/x-gzip",
    ),
    # Sound. Tags of ID3 stand in front of all of these.
    Family(
        "MP3",
        "mp3 mp2 mpga",
        "audio/mpeg audio/mp3 audio/x-mp3 audio/mpeg3 audio/x-mpeg audio/x-mpeg-3 audio/mpg audio/x-mpg",
        "audio/mpeg audio/wav",
        also="video/mpeg",
        guarded=True,
    ),
    Family(
        "AAC",
        "aac adts",
        "audio/aac audio/x-aac audio/aacp audio/x-hx-aac-adts audio/vnd.dlna.adts",
        "audio/aac audio/mpeg audio/mp4",
        guarded=True,
    ),
    Family("FLAC", "flac", "audio/flac audio/x-flac", "audio/flac audio/mpeg audio/ogg", guarded=True),
    Family(
        "WAV", "wav wave bwf rf64", "audio/wav audio/x-wav audio/wave audio/vnd.wave audio/x-pn-wav", "audio/wav", guarded=True
    ),
    Family("AIFF", "aif aiff aifc", "audio/aiff audio/x-aiff", "audio/aiff audio/mpeg", guarded=True),
    Family(
        "Ogg",
        "ogg oga ogv ogx opus spx",
        "audio/ogg video/ogg application/ogg audio/opus audio/vorbis audio/speex audio/x-vorbis+ogg audio/x-opus+ogg",
        "audio/ogg",
        guarded=True,
    ),
    Family("MIDI", "mid midi kar rmi", "audio/midi audio/x-midi audio/mid audio/sp-midi application/x-midi", "audio/midi"),
    Family("AMR", "amr", "audio/amr audio/x-amr", "audio/amr video/3gpp", also="audio/3gpp"),
    # Video
    Family(
        "MP4 and QuickTime",
        "mp4 m4v mp4v mpg4 mov qt m4a m4b m4p m4r f4v f4a 3gp 3gpp 3g2 3gp2 insv lrv",
        "video/mp4 video/x-m4v video/quicktime audio/mp4 audio/x-m4a audio/m4a audio/x-m4b audio/m4b audio/x-m4p audio/x-m4r"
        " application/mp4 video/3gpp video/3gpp2 audio/3gpp audio/3gpp2 video/x-f4v audio/x-quicktime",
        "video/mp4 video/quicktime audio/mp4 video/3gpp",
        also="audio/aac audio/x-aac audio/mpeg",
        guarded=True,
    ),
    Family(
        "WebM and Matroska",
        "webm mkv mka mks mk3d weba",
        "video/webm audio/webm video/x-matroska audio/x-matroska video/matroska audio/matroska application/x-matroska"
        " video/x-matroska-3d",
        "video/webm video/x-matroska",
        guarded=True,
    ),
    Family(
        "AVI", "avi divx", "video/x-msvideo video/avi video/msvideo video/vnd.avi video/divx", "video/x-msvideo", guarded=True
    ),
    Family(
        "Windows Media",
        "wmv wma asf",
        "video/x-ms-wmv audio/x-ms-wma video/x-ms-asf application/vnd.ms-asf video/x-ms-wm audio/wma",
        "video/x-ms-asf",
        guarded=True,
    ),
    Family("Flash Video", "flv", "video/x-flv video/flv", "video/x-flv", guarded=True),
    Family(
        "MPEG",
        "mpg mpeg mpe m1v m2v vob",
        "video/mpeg video/x-mpeg video/mpg video/dvd video/x-ms-vob video/mpeg-system",
        "video/mpeg video/mp2t video/mp4",
        also="audio/mpeg",
        guarded=True,
    ),
    Family("MPEG transport stream", "ts mts m2ts m2t", "video/mp2t video/vnd.dlna.mpeg-tts video/mpeg2", "video/mp2t"),
    # Documents
    Family(
        "PDF",
        "pdf fdf",
        "application/pdf application/x-pdf application/acrobat text/pdf application/vnd.fdf",
        PDF,
        guarded=True,
    ),
    Family(
        "PostScript and Illustrator",
        "ps eps epsf epsi ai",
        "application/postscript application/eps application/x-eps image/eps image/x-eps application/illustrator"
        " application/vnd.adobe.illustrator",
        f"application/postscript {PDF}",
        also="application/pdf text/plain",
    ),
    Family(
        "Office Open XML",  # a zip, and what Office makes of it once it has a password
        "docx docm dotx dotm xlsx xlsm xltx xltm xlsb xlam pptx pptm potx potm ppsx ppsm ppam vsdx vsdm",
        "application/vnd.openxmlformats-officedocument.* application/vnd.ms-*.macroenabled.12 application/vnd.ms-visio.drawing*"
        " application/vnd.ms-word.* application/vnd.ms-excel.* application/vnd.ms-powerpoint.*",
        f"{ZIP} {OLE}",
        also="application/zip application/x-zip-compressed application/msword application/vnd.ms-excel"
        " application/vnd.ms-powerpoint application/vnd.ms-office application/x-vnd.oasis.opendocument.*",
    ),
    Family(
        "Office before 2007",  # which opens RTF, a page's table and CSV under these names too, and web services send them so
        "doc dot xls xlt xla xlw ppt pps pot",
        "application/msword application/x-msword application/vnd.ms-word application/vnd.ms-excel application/msexcel"
        " application/x-msexcel application/x-excel application/excel application/vnd.ms-powerpoint application/mspowerpoint"
        " application/powerpoint application/x-mspowerpoint",
        f"{OLE} {ZIP} application/msword application/vnd.ms-excel application/rtf {TEXT}",
        also="application/rtf text/rtf text/plain text/csv text/tab-separated-values application/vnd.ms-office"
        " application/x-ole-storage application/vnd.openxmlformats-officedocument.* text/vnd.graphviz",
    ),
    Family(
        "Compound files",
        "msg vsd vst mpp",
        "application/vnd.ms-outlook application/vnd.visio application/vnd.ms-visio application/vnd.ms-project"
        " application/x-visio application/vnd.ms-office application/x-ole-storage application/x-msg",
        f"{OLE} {TEXT}",  # .msg is a catalogue of texts to others
    ),
    Family(
        "RTF",
        "rtf",
        "application/rtf text/rtf application/x-rtf",
        "application/rtf",
        also="application/msword text/plain",
    ),
    Family(
        "OpenDocument",
        "odt ods odp odg odf odc odi odb odm otc ott ots otp otg oth sxw sxc sxi sxd",
        "application/vnd.oasis.opendocument.* application/vnd.sun.xml.* application/x-vnd.oasis.opendocument.*",
        ZIP,
        also="application/zip application/x-zip-compressed",
    ),
    Family(
        "EPUB and comics",
        "epub cbz",
        "application/epub+zip application/vnd.comicbook+zip application/x-cbz",
        f"{ZIP} application/vnd.rar",
        also="application/zip application/x-zip-compressed",
    ),
    Family(
        "Kindle",
        "mobi azw azw3",
        "application/x-mobipocket-ebook application/vnd.amazon.*",
        "application/x-mobipocket-ebook",
    ),
    Family("HTML Help", "chm", "application/vnd.ms-htmlhelp application/x-chm", "application/vnd.ms-htmlhelp"),
    # Archives
    Family(
        "Zip",
        "zip jar war ear aar apk apks xapk aab ipa xpi whl nupkg vsix kmz 3mf usdz cbz xps oxps idml sketch mcpack",
        "application/zip application/x-zip-compressed application/x-zip application/zip-compressed application/java-archive"
        " application/x-java-archive application/x-jar application/vnd.android.package-archive application/vnd.google-earth.kmz"
        " application/vnd.ms-xpsdocument application/oxps application/x-xpinstall",
        f"{ZIP} application/java-archive application/vnd.android.package-archive",
        also="model/3mf model/vnd.usdz+zip application/x-ios-app application/x-wheel+zip",
    ),
    Family(
        "gzip",
        "gz tgz taz emz",
        "application/gzip application/x-gzip application/gzip-compressed application/x-tgz application/x-compressed-tar",
        "application/gzip",
        also="image/svg+xml-compressed application/x-compressed application/x-gtar application/x-tar application/x-compress",
    ),
    Family(
        "bzip2",
        "bz2 tbz tbz2",
        "application/x-bzip2 application/x-bzip application/bzip2",
        "application/x-bzip2",
        also="application/x-bzip-compressed-tar application/x-bzip2-compressed-tar",
    ),
    Family("xz", "xz txz", "application/x-xz application/xz", "application/x-xz", also="application/x-xz-compressed-tar"),
    Family(
        "Zstandard",
        "zst tzst",
        "application/zstd application/x-zstd",
        "application/zstd",
        also="application/x-zstd-compressed-tar",
    ),
    Family("LZ4", "lz4", "application/x-lz4", "application/x-lz4"),
    Family("lzip", "lz", "application/x-lzip application/lzip", "application/x-lzip"),
    Family("7z", "7z", "application/x-7z-compressed", "application/x-7z-compressed", also="application/x-compressed"),
    Family(
        "RAR",
        "rar cbr",
        "application/vnd.rar application/x-rar-compressed application/x-rar application/rar"
        " application/vnd.comicbook-rar application/x-cbr",
        f"application/vnd.rar {ZIP}",
        also="application/x-compressed",
    ),
    Family(
        "tar", "tar gem ova", "application/x-tar application/tar application/x-gtar application/x-ustar", "application/x-tar"
    ),
    Family("Cabinet", "cab", "application/vnd.ms-cab-compressed application/x-cab", "application/vnd.ms-cab-compressed"),
    Family(
        "Debian package",
        "deb udeb",
        "application/vnd.debian.binary-package application/x-debian-package application/x-deb",
        "application/x-archive",
    ),
    Family("RPM", "rpm", "application/x-rpm application/x-redhat-package-manager", "application/x-rpm"),
    # Fonts, which are taken for each other
    Family(
        "OpenType",
        "ttf otf ttc otc",
        "font/ttf font/otf font/sfnt font/collection application/x-font-ttf application/x-font-otf application/x-font-truetype"
        " application/x-font-opentype application/font-sfnt application/vnd.ms-opentype",
        "font/ttf font/otf font/collection",
        also="application/vnd.oasis.opendocument.formula-template",
        guarded=True,
    ),
    Family(
        "WOFF",
        "woff woff2",
        "font/woff font/woff2 application/font-woff application/font-woff2 application/x-font-woff",
        "font/woff font/woff2",
        guarded=True,
    ),
    # Data
    Family("SQLite", "sqlite sqlite3", "application/vnd.sqlite3 application/x-sqlite3", "application/vnd.sqlite3"),
    Family(
        "Access", "mdb accdb", "application/vnd.ms-access application/x-msaccess application/msaccess", "application/x-msaccess"
    ),
    Family("Parquet", "parquet", "application/vnd.apache.parquet application/x-parquet", "application/vnd.apache.parquet"),
    Family("HDF5", "h5 hdf5", "application/x-hdf5 application/x-hdf", "application/x-hdf5 application/x-hdf"),
    Family("DICOM", "dcm", "application/dicom", "application/dicom"),
    Family("WebAssembly", "wasm", "application/wasm", "application/wasm"),
    # Programs
    Family("Library of objects", "a", "text/vnd.a application/x-archive", f"application/x-archive application/x-elf {TEXT}"),
    Family(
        "Windows program",
        "exe dll scr cpl ocx",
        "application/vnd.microsoft.portable-executable application/x-msdownload application/x-dosexec"
        " application/x-ms-dos-executable application/x-exe application/exe"
        " application/x-winexe application/dos-exe",
        "application/vnd.microsoft.portable-executable",
        also="application/x-msdos-program application/x-executable application/x-sharedlib",
    ),
    Family(
        "Windows installer",
        "msi msp msm mst",
        "application/x-msi application/x-ms-installer application/x-windows-installer",
        OLE,
        also="application/x-msdownload application/x-ole-storage application/vnd.ms-office",
    ),
    Family("Windows shortcut", "lnk", "application/x-ms-shortcut", "application/x-ms-shortcut", also="application/x-mswinurl"),
    Family(
        "Program of Unix",
        "",
        "application/x-executable application/x-elf application/x-object application/x-sharedlib application/x-pie-executable"
        " application/x-mach-binary application/vnd.appimage",
        "application/x-elf application/x-mach-binary",
        also="application/x-iso9660-appimage",
    ),
    Family(
        "Java class",
        "class",
        "application/java-vm application/java-byte-code application/x-java-class application/java",
        "application/java-vm",
        also="application/x-java application/x-java-vm",
    ),
    # Text
    Family(
        "Web page",
        "html htm xhtml xht shtml php phtml jsp asp aspx vue svelte",
        "text/html application/xhtml+xml",
        TEXT,
        also="text/* application/x-httpd-php* application/x-php application/php application/xml application/x-asp"
        " application/x-jsp",
        source=True,
    ),
    Family("Subtitles", "ass ssa", "text/x-ssa text/x-ass", TEXT, also="text/plain audio/aac", source=True),  # as Python has it
    Family(
        "Text",
        "txt text log csv tsv tab md markdown rst adoc tex json jsonl ndjson geojson ipynb webmanifest xml xsd xsl xslt dtd rss"
        " atom yaml yml toml ini cfg conf properties env sql py pyi pyw rb js mjs cjs jsx ts tsx mts cts coffee css scss sass"
        " less c h cc cpp cxx hpp hh cs java kt kts scala go rs swift lua pl sh bash zsh fish bat cmd ps1 psm1 vbs vbe jse wsf"
        " hta reg php jsp asp aspx vue svelte diff patch srt vtt ics ifb vcf vcard eml mht mhtml gpx kml pot m3u m3u8"
        " pls cue nfo url desktop",
        "text/* application/json application/*+json application/jsonl application/x-ndjson application/xml application/*+xml"
        " application/yaml application/x-yaml application/*+yaml application/toml application/sql application/x-sql"
        " application/javascript application/x-javascript application/ecmascript application/x-sh application/x-shellscript"
        " application/x-csh application/x-tex application/x-latex application/x-httpd-php* application/x-php message/rfc822"
        " application/x-subrip application/typescript application/x-typescript application/graphql application/hta"
        " application/x-bat application/x-perl application/x-python application/x-ruby application/vnd.apple.mpegurl"
        " application/x-mpegurl audio/x-mpegurl audio/mpegurl application/xml-dtd application/x-mswinurl application/csv",
        TEXT,
        # On Windows, Excel has CSV for itself; .ts is a video's to everybody but programmers.
        also="application/vnd.ms-excel application/msexcel application/x-msexcel application/excel application/msword"
        " video/mp2t video/vnd.dlna.mpeg-tts application/x-msdos-program application/x-msdownload application/x-wais-source"
        " audio/x-scpls application/pls+xml multipart/related application/x-desktop application/x-ms-regedit"
        " application/x-*script application/pgp-*",
        source=True,
    ),
)

# Endings that a double click starts, or mounts.
_STARTED = (
    "exe scr com pif cpl msi msp msc bat cmd ps1 psm1 vbs vbe js jse wsf wsh hta jar lnk reg inf scf url gadget application"
    " appref-ms sh command desktop app dmg pkg deb rpm apk run iso vhd vhdx dll sys ocx"
)
STARTED = frozenset(_STARTED.split())
# Endings that people open without a thought.
OPENED = (
    frozenset(
        {"txt", "csv", "log"}
        | {extension for family in FAMILIES if not family.source for extension in family.extensions.split()}
    )
    - STARTED
)
# Endings under which a program that claims no type is what one expects; numbers are versions (libc.so.6).
PROGRAM = re.compile(
    r"(?:\d[\w-]*)?|debug|so|dylib|bundle|ko|o|node|pyd|elf|axf|out|run|appimage|bin|img|rom|efi|sys|drv|mui|com|dex|x86_64|amd64|i386|arm64|aarch64"
)


@lru_cache(maxsize=1_000)
def _of_type(content_type: str) -> frozenset[Family]:
    """Families that own the type: by its name, or else by a pattern."""
    named = {family for family in FAMILIES if content_type in family.types.split()}
    return frozenset(named or {family for family in FAMILIES if _any_fits(content_type, family.types)})


@lru_cache(maxsize=1_000)
def _of_extension(extension: str) -> frozenset[Family]:
    return frozenset(family for family in FAMILIES if extension in family.extensions.split())


def _any_fits(content_type: str, patterns: str) -> bool:
    return any(fnmatchcase(content_type, pattern) for pattern in patterns.split())


@lru_cache(maxsize=1_000)
def _both(content_type: str, extension: str) -> frozenset[Family]:
    """What type and extension claim together: none, if they contradict each other."""
    owners = _of_type(content_type)
    return frozenset(family for family in _of_extension(extension) if family in owners or _any_fits(content_type, family.also))


def _claimed(content_type: str, filename: str) -> frozenset[Family]:
    """Families whose bytes the file may have: none, if it claims nothing that is known here."""
    extension = _extension(filename)
    by_type = _of_type(content_type)
    return _both(content_type, extension) or by_type or _of_extension(extension)


def _extension(filename: str) -> str:
    stem, _dot, extension = filename.rpartition(".")
    return extension.lower() if stem.strip(".") else ""


# --- what the name and the type say ---------------------------------------------------------------------------------------

# Letters of other scripts and dots that look like those of an extension. NFKC takes care of wide and tiny ones.
_LOOKALIKES = str.maketrans("асеіјорѕхуһԁԛԝαιορνχ。‧", "aceijopsxyhdqwaiopvx..")
_TRAILING = " .\u00a0\u3000\u2026\u200b\u200c\u200d\u2060\ufeff"


def contradiction(content_type: str, filename: str) -> str | None:
    """Why this name and this type cannot both be true, or why the name is a trap: a sentence for the person who chose them."""
    return _trap(filename) or _disagreement(content_type, filename)


def _trap(filename: str) -> str | None:
    name = _folded(filename)
    bare = name.rstrip(_TRAILING)
    outer = _extension(bare)
    inner = _extension(bare[: -len(outer) - 1].rstrip(_TRAILING)).strip()
    if outer in STARTED and inner in OPENED:
        sentence = _("The name ends in .%(inner)s and .%(outer)s: a program that looks like a document. Leave one of them out.")
        return sentence % {"inner": inner, "outer": outer}
    if bare != name and outer in STARTED | OPENED:
        return _("Dots or spaces at the end of the name hide that it ends in .%(ending)s. Remove them.") % {"ending": outer}
    return None


def misnomer(detected: str, content_type: str, key: str, filename: str) -> str | None:
    """Why a file whose bytes are `detected` cannot be called that: a sentence. They were held against its `key`'s ending."""
    extension, families = _extension(filename), _claimed(content_type, filename)
    if extension == _extension(key) or (families and families == _claimed(content_type, key)):
        return None
    if any(_shows(family, detected) for family in families):
        return None
    if not families and (detected not in PROGRAMS or _is_plainly_a_program(content_type, extension)):
        return None
    return _contradicted(extension, detected)


def _shows(family: Family, detected: str) -> bool:
    shows = family.shows.split()
    return detected in shows or (TEXT in shows and detected in WRITTEN)


def _is_plainly_a_program(content_type: str, extension: str) -> bool:
    return content_type in UNCLAIMED and PROGRAM.fullmatch(extension) is not None


def _disagreement(content_type: str, filename: str) -> str | None:
    extension = _extension(filename)
    owners = _of_type(content_type)
    known = bool(_of_extension(extension)) or extension in STARTED
    if not owners or not known or _both(content_type, extension) or _is_free(owners, extension):
        return None
    return _contradicted(extension, content_type)


def _contradicted(extension: str, content_type: str) -> str:
    sentence = _("A file whose name ends in .%(ending)s is not of type %(type)s. Give it the ending that fits.")
    return sentence % {"ending": extension, "type": content_type}


def _is_free(owners: frozenset[Family], extension: str) -> bool:
    """Programs without a family of their own, which may be sources or domains (example.com), but no document."""
    return not _of_extension(extension) and not any(family.guarded for family in owners)


def _folded(filename: str) -> str:
    """As it looks: without what cannot be seen, lookalikes replaced, in lower case."""
    seen = "".join(char for char in unicodedata.normalize("NFKC", filename) if unicodedata.category(char) not in ("Cc", "Cf"))
    return seen.lower().translate(_LOOKALIKES)


# --- what the bytes say ---------------------------------------------------------------------------------------------------

# re has groups for names that are Python's, and media types are none.
_MAGIC = re.compile(b"|".join(b"(%b)" % pattern for pattern in MAGIC.values()), re.DOTALL)
_MEDIA_TYPES = ("", *MAGIC)


def _by_place(rows: Iterable[puremagic.main.PureMagic]) -> list[tuple[int, int, dict[bytes, str]]]:
    """(start, end, {bytes: media type}), the longest first: a few dozen slices to look up, in place of 1,437 comparisons."""
    places: dict[tuple[int, int], dict[bytes, str]] = defaultdict(dict)
    for row in rows:
        length = len(row.byte_match)
        if length >= 4 and row.mime_type:
            places[row.offset, row.offset + length].setdefault(row.byte_match, row.mime_type.strip())
    return sorted(((*place, named) for place, named in places.items()), key=lambda item: item[0] - item[1])


_PUREMAGIC = _by_place(puremagic.main.magic_header_array)

_LEADING = re.compile(
    rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*(?:"
    rb"(<(?:!doctype\s+html|html|head|body|script|iframe|h[1-6]|div|font|table|style|title|a|b|br|p|meta|link|img|form|center"
    rb"|frameset|object|embed)[\s/>])"
    rb"|(<(?:!doctype\s+)?(?:\w+:)?svg[\s>\[])"
    rb"|(<\?xml[\s?]|<!(?:--|doctype|entity|\[cdata\[))"
    rb"|(\#!\s*/|<\?php|<\?=|<%|<jsp:))",
    re.IGNORECASE,
)
_SVG_INSIDE = re.compile(rb"<(?:\w+:)?svg[\s>]", re.IGNORECASE)
_HTML_INSIDE = re.compile(rb"<(?:!doctype\s+html|html|head|body|script)[\s>]", re.IGNORECASE)
_XML_AT_WORK = re.compile(rb"<!(?:doctype|entity)|<\?xml-stylesheet|<(?:\w+:)?script[\s>]", re.IGNORECASE)

# What only a page or a script has, long enough not to turn up in 64 KiB of compressed bytes by chance.
_ACTIVE = re.compile(
    rb"<(?:script[\s>/]|iframe[\s>]|html[\s>]|!doctype\s+html|svg\s+[a-z]+[:=]|\?php[\s(]|\?=\s*[$]_|%@\s*(?:page|language)|jsp:"
    rb"|%\s*(?:eval|execute|request|response|runtime)\W"
    rb"|(?:img|body|input|details|video|audio|object|embed|marquee|style)\s[^<>]{0,100}?\bon[a-z]{3,16}\s*=)",
    re.IGNORECASE,
)
# Office opens pages for the sake of their tables, and needs none of this.
_SCRIPTED = re.compile(rb"<(?:script[\s>/]|iframe[\s>]|object[\s>]|embed[\s>]|\?php|%)", re.IGNORECASE)
# A PDF may speak of pages in its titles, its forms and its comments; a page that it is itself starts on a line of its own.
_ACTIVE_IN_PDF = re.compile(
    rb"<(?:script(?:>|\s+(?:src|type|language|defer|async)\b)|iframe[\s>]|html[\s>]|!doctype\s+html|\?php[\s(])", re.IGNORECASE
)
_LINE = re.compile(rb"[\r\n][ \t]*\Z")
_MARKUP = re.compile(rb"<(?:!doctype|!--|html|head|body|script|svg|iframe|\?php|\?xml|%)", re.IGNORECASE)
_ENDS = (b"IEND\xae\x42\x60\x82", b"\xff\xd9", b"\0;", b"%%EOF")  # of a PNG, a JPEG, a GIF, a PDF
# Magic bytes that JavaScript reads as a variable, with what follows as its value or a comment (GIF89a=1, BM/*…*/=1).
_SCRIPT_BY_MAGIC = re.compile(
    rb"(?:GIF8[79]a|BM)\s*=[\t\n\r -~]{8}"
    rb"|(?:GIF8[79]a|BM|RIFF|II|MM|FLV|FORM|\xff\xd8\xff[\xe0-\xef])/\*(?=.*\*/\s*[=;\w(])",
    re.DOTALL,
)
_PROGRAMS_INSIDE = (b"This program cannot be run in DOS mode", b"\x7fELF\x01\x01\x01\0", b"\x7fELF\x02\x01\x01\0")
_ARCHIVES_INSIDE = (b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c")
_RAR_ENDS = (b"\xc4\x3d\x7b\0\x40\x07\0", b"\x1d\x77\x56\x51\x03\x05\x04\0")  # of version 4, of version 5
_PDF_WITHIN = 1024  # bytes, in which readers look for the header
_PDF_IN_TEXT = re.compile(rb"\A.{0,1023}?[\r\n]%PDF-\d\.\d\s.{0,4000}?\d obj\b", re.DOTALL)  # some have letters alone


@dataclass(frozen=True, slots=True)
class Look:
    detected: str  # a media type; application/octet-stream where it is unknown
    fault: Reason | None


def look(content_type: str, filename: str, first: bytes, last: bytes = b"") -> Look:
    """What the bytes are, and what is wrong with that.

    `first`: up to FIRST bytes. `last`: the end of the file, up to LAST bytes; empty where `first` is all of it.
    """
    families = _claimed(content_type, filename)
    text = _is_text(first)
    found = _detected(first, text)
    return Look(found, _fault(content_type, filename, families, found, text=text, parts=(first, last) if last else (first,)))


def needs_end(content_type: str, filename: str) -> bool:
    """Whether `look` wants the last bytes too: of what is shown or played inside of pages."""
    return _is_guarded(content_type, _claimed(content_type, filename))


def _is_guarded(content_type: str, families: frozenset[Family]) -> bool:
    if families:
        return any(family.guarded for family in families)
    return content_type.startswith(("image/", "audio/", "video/", "font/"))


def _fault(
    content_type: str, filename: str, families: frozenset[Family], found: str, *, text: bool, parts: tuple[bytes, ...]
) -> Reason | None:
    first = parts[0]
    fitting = [family for family in families if _fits(family, found, first, text=text)]
    guarded = _is_guarded(content_type, families)
    if families and not fitting:
        return _misfit(found, first, guarded=guarded)
    if not families and found in PROGRAMS and not _is_plainly_a_program(content_type, _extension(filename)):
        return Reason.TYPE
    if any(family.source for family in fitting) or not (families or guarded):
        return None
    if text and found in (TEXT, HTML, SVG, XML, SCRIPT):
        return Reason.ACTIVE if _SCRIPTED.search(first) else None
    return _hidden(found, parts) if guarded else None


def _misfit(found: str, first: bytes, *, guarded: bool) -> Reason:
    if _is_active(found, first):
        return Reason.ACTIVE
    return Reason.POLYGLOT if guarded and found != PDF and _mentions_pdf(first) else Reason.TYPE


def _fits(family: Family, found: str, first: bytes, *, text: bool) -> bool:
    shows = family.shows.split()
    if TEXT in shows and text:
        return True
    return found in shows or ("audio/mpeg" in shows and _has_frames(first))


def _is_active(found: str, first: bytes) -> bool:
    if found == XML:
        return _XML_AT_WORK.search(first) is not None
    return found in (HTML, SVG, SCRIPT) or (found in (TEXT, UNKNOWN) and _ACTIVE.search(first) is not None)


# --- detection


def _detected(first: bytes, text: bool) -> str:
    match = _MAGIC.match(first)
    if match and match.lastindex:
        return _MEDIA_TYPES[match.lastindex]
    if _is_tar(first):
        return "application/x-tar"
    if _PDF_IN_TEXT.search(first) if text else _mentions_pdf(first):
        return PDF
    if text:
        return _kind_of_text(first)
    return _by_sync(first) or _by_puremagic(first) or UNKNOWN


def _kind_of_text(first: bytes) -> str:
    flat = first.replace(b"\0", b"")  # as UTF-16 has them between Latin letters
    match = _LEADING.match(flat)
    if not match:
        return TEXT
    kind = (HTML, SVG, XML, SCRIPT)[(match.lastindex or 1) - 1]
    if kind != XML:
        return kind
    inside = min(((at.start(), kind) for kind, at in _inside(flat)), default=(0, XML))
    return inside[1]


def _inside(flat: bytes) -> Iterable[tuple[str, re.Match[bytes]]]:
    for kind, pattern in ((SVG, _SVG_INSIDE), (HTML, _HTML_INSIDE)):
        if at := pattern.search(flat):
            yield kind, at


def _by_puremagic(first: bytes) -> str | None:
    return next((named[part] for start, end, named in _PUREMAGIC if (part := first[start:end]) in named), None)


def _is_tar(first: bytes) -> bool:
    """By the checksum of its first header, since tar has no magic from before 1988; and no program may be its first name."""
    header = first[:512]
    stated = header[148:156].strip(b" \0")
    if len(header) < 512 or not re.fullmatch(rb"[0-7]{1,7}", stated) or header.startswith((b"MZ\x90", b"\x7fELF")):
        return False
    return sum(header) - sum(header[148:156]) + 8 * 0x20 == int(stated, 8)


_FRAME = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # layer III of MPEG 2.5, 2 and 1
_KBITS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_HERTZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _by_sync(first: bytes) -> str | None:
    """Sound that starts with a frame and has no other magic than that: a frame's first bits are ones."""
    head = first.lstrip(b"\0")[:3]
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    version, layer, rate, hertz = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    return "audio/mpeg" if version != 1 and layer != 0 and rate != 15 and hertz != 3 else None


def _has_frames(first: bytes) -> bool:
    """Whether three frames of MP3 follow one another: what was cut from a stream starts in the midst of one."""
    for match in _FRAME.finditer(first, 0, FIRST // 2):
        at, frames = match.start(), 0
        while frames < 3 and _FRAME.match(first, at) and (length := _frame_length(first[at : at + 3])):
            at, frames = at + length, frames + 1
        if frames == 3:
            return True
    return False


def _frame_length(header: bytes) -> int:
    """Bytes of a frame of layer III; 0 where it is none."""
    if len(header) < 3 or header[2] >> 2 & 3 == 3:
        return 0
    version = header[1] >> 3 & 3
    kbits = _KBITS[1 if version == 3 else 2][header[2] >> 4]
    return (144_000 if version == 3 else 72_000) * kbits // _HERTZ[version][header[2] >> 2 & 3] + (header[2] >> 1 & 1)


_BOMS = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
# Without its mark, UTF-16 is known by the NULs between Latin letters.
_UTF16 = re.compile(rb"(?:[\t\n\r -\xff]\0)+[\t\n\r -\xff]?|(?:\0[\t\n\r -\xff])+\0?")
_CONTROL = re.compile(rb"[\x01-\x06\x0e-\x19\x7f]")  # as file(1) has it, with the old end of a file (0x1a) and separators


def _is_text(first: bytes) -> bool:
    """Any text that can be decoded: UTF-8, UTF-16, UTF-32, or one byte a letter without control characters."""
    for mark, encoding in _BOMS:
        if first.startswith(mark):
            decoded = _decoded(first, encoding)
            return decoded is not None and "\0" not in decoded
    if b"\0" in first:
        return _UTF16.fullmatch(first) is not None
    strange = _CONTROL.search(first) is not None
    if _decoded(first, "utf-8") is not None:
        return not strange or not _MAGIC.match(first)
    return not strange and not _MAGIC.match(first)


def _decoded(first: bytes, encoding: str) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(first)  # its last letter may be cut
    except UnicodeDecodeError:
        return None


# --- what hides


def _hidden(found: str, parts: tuple[bytes, ...]) -> Reason | None:
    first, end, known = parts[0], parts[-1], b"".join(parts)
    if found == PDF and (fault := _before_pdf(first[: first.find(b"%PDF-")])):
        return fault
    if (found != PDF and _mentions_pdf(first)) or _SCRIPT_BY_MAGIC.match(known) or _is_markup_behind(known):
        return Reason.POLYGLOT
    if any(known.find(magic, 1) > 0 for magic in (*_ARCHIVES_INSIDE, *_PROGRAMS_INSIDE)) or end.endswith(_RAR_ENDS):
        return Reason.POLYGLOT
    if _has_zip(end, to_the_end=found == PDF):
        return Reason.POLYGLOT
    active = _starts_a_line(known) if found == PDF else _ACTIVE.search(known)
    return Reason.ACTIVE if active or b"__HALT_COMPILER" in known else None


def _is_markup_behind(known: bytes) -> bool:
    """Whether markup follows the end of a picture or a PDF."""
    return any(known[max(0, at.start() - 64) : at.start()].rstrip().endswith(_ENDS) for at in _MARKUP.finditer(known))


def _starts_a_line(known: bytes) -> bool:
    return any(_LINE.search(known, max(0, at.start() - 64), at.start()) for at in _ACTIVE_IN_PDF.finditer(known))


def _mentions_pdf(first: bytes) -> bool:
    return b"%PDF-" in first[: _PDF_WITHIN + 5]


# What makes a comment or a string in JavaScript of what follows.
_SCRIPT_OPENS = re.compile(rb"/\*|(?://[^\r\n]*|[`'\"(=])$")


def _before_pdf(junk: bytes) -> Reason | None:
    """Mail and printer headers stand there in honest ones, as do line breaks."""
    if _LEADING.match(junk) or _ACTIVE.search(junk):
        return Reason.ACTIVE
    magic = _MAGIC.match(junk)
    return Reason.POLYGLOT if (magic and junk.strip()) or _SCRIPT_OPENS.search(junk) else None


def _has_zip(end: bytes, *, to_the_end: bool) -> bool:
    """Whether a reader of zips finds one: its last record, with a comment that fits, and a directory in front of that.

    `to_the_end`: only one that ends with the file, since a zip may be attached to a PDF.
    """
    at = len(end)
    for _try in range(64):
        at = end.rfind(b"PK\x05\x06", 0, at)
        if at < 0:
            return False
        rest = len(end) - at - 22 - int.from_bytes(end[at + 20 : at + 22], "little")
        if rest >= 0 and not (to_the_end and rest > 2) and end.find(b"PK\x01\x02", 0, at) >= 0:
            return True
    return True
