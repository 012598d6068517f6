package "cross_tools" {
  summary = "What profile gnu makes first: tools that run here and produce code for the platform, and the platform's libraries"
  profile = "gnu"

  group {
    members = [
      "//binutils/cross", "//gcc/cross", "//pkgconf/cross",
      "//linux-headers", "//glibc/headers", "//gcc/libgcc", "//glibc", "//gcc/libgcc_s", "//gcc/libstdcxx", "//gcc/libatomic", "//gcc/libgomp",
    ]
  }
}
