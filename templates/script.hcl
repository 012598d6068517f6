rule "script" {
  summary  = "a build that is written out"
  template = "script.sh.j2"
  contract = 1

  attribute "script" {
    type    = "script"
    summary = "runs in the source folder and installs into $OUT"
  }
}
