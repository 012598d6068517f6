rule "make" {
  summary  = "make and make install with a plain Makefile"
  template = "make.sh.j2"
  contract = 1

  attribute "make" {
    type    = "list"
    default = []
    summary = "targets and NAME=VALUE settings of make; CC and its kin and the prefix are passed already"
  }
  attribute "install" {
    type    = "list"
    default = ["install"]
    summary = "targets and settings of the make that installs; a later PREFIX= wins over the one passed"
  }
  attribute "prefix" {
    type    = "string"
    default = ""
    summary = "where the package lies in the end; empty: the stage's prefix"
  }
  attribute "prepare" {
    type    = "script"
    default = ""
    summary = "runs in the source folder before make; what it exports stays"
  }
  attribute "after" {
    type    = "script"
    default = ""
    summary = "runs in the source folder after the installation into $OUT"
  }
}
