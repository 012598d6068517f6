rule "autotools" {
  summary  = "configure, make, make install"
  template = "autotools.sh.j2"
  contract = 1

  attribute "configure" {
    type    = "list"
    default = []
    summary = "options of configure, after those of the stage"
  }
  attribute "make" {
    type    = "list"
    default = []
    summary = "targets and NAME=VALUE settings of make"
  }
  attribute "install" {
    type    = "list"
    default = ["install"]
    summary = "targets and settings of the make that installs; DESTDIR is set already"
  }
  attribute "prefix" {
    type    = "string"
    default = ""
    summary = "where the package lies in the end; empty: the stage's prefix"
  }
  attribute "in_tree" {
    type    = "bool"
    default = false
    summary = "build in the source folder, for packages that cannot be built outside of it"
  }
  attribute "bare" {
    type    = "bool"
    default = false
    summary = "leave out --build and --host, for a configure that is not autoconf's"
  }
  attribute "prepare" {
    type    = "script"
    default = ""
    summary = "runs in the source folder before configure; what it exports stays"
  }
  attribute "before_build" {
    type    = "script"
    default = ""
    summary = "runs in the build folder between configure and make"
  }
  attribute "after" {
    type    = "script"
    default = ""
    summary = "runs in the build folder after the installation into $OUT"
  }
}
