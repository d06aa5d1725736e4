"""How numbers of bytes are written, by server and scripts of pages alike."""

TABLE = {
    0: "0 B",
    1: "1 B",
    1023: "1023 B",
    1024: "1.0 KiB",
    1536: "1.5 KiB",
    1024 * 1024 - 52: "1023.9 KiB",
    1024 * 1024 - 51: "1.0 MiB",
    1024 * 1024 - 1: "1.0 MiB",
    (1 << 20): "1.0 MiB",
    (1 << 30) - 1: "1.0 GiB",
    (1 << 30): "1.0 GiB",
    2 << 30: "2.0 GiB",
    (1 << 40) - 1: "1.0 TiB",
    1 << 40: "1.0 TiB",
    (1 << 50) - 1: "1.0 PiB",
    5 << 50: "5.0 PiB",
    1 << 60: "1024.0 PiB",
}
