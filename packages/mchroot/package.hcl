package "mchroot" {
  summary = "What profile gnu builds in the platform's own root, by the platform's own programs"
  profile = "gnu"

  group {
    members = ["//glibc/locales", "//perl"]
  }
}
