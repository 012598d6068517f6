package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/spf13/cobra"

	"vfsb/engine"
	"vfsb/engine/source"
)

func sbomVerb(app *app) *cobra.Command {
	return &cobra.Command{
		Use:   "sbom LABEL",
		Short: "Print what an output consists of, as a CycloneDX bill of materials",
		Long: `Prints the packages of which something lies in the output, or was linked into what
lies there, with their versions, licences, sources with digests, and patches: a bill of
materials in CycloneDX 1.6, as JSON. Nothing is built, and the same label gives the same
text. What only ran while it was built, such as the cross compiler, is not in it.`,
		Example:           `  vfsb sbom //stage1:arm64 > stage1.cdx.json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, args []string) error {
			return app.with(func(e *engine.Engine) error {
				g, id, err := app.one(e, args[0])
				if err != nil {
					return err
				}
				list, err := e.Inventory(cmd.Context(), g)
				if err != nil {
					return err
				}
				out := cyclonedx.NewBOMEncoder(stdout, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
				return out.EncodeVersion(billOf(e.Workspace.Root, g.Nodes[id], list), cyclonedx.SpecVersion1_6)
			})
		},
	}
}

// billOf is the bill of materials of n, which consists of list. Paths of patches in it are relative to root.
func billOf(root string, n *engine.Node, list []engine.Component) *cyclonedx.BOM {
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{
		Component: &cyclonedx.Component{
			BOMRef: n.Label, Type: cyclonedx.ComponentTypeOS, Name: n.Target.Package.Name, Version: n.Target.Package.Version,
			Description: n.Target.Package.Summary,
			Properties:  &[]cyclonedx.Property{{Name: "vfsb:platform", Value: n.Platform.Name}, {Name: "vfsb:triplet", Value: n.Platform.Triplet}},
		},
		Tools: &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{{Type: cyclonedx.ComponentTypeApplication, Name: "vfsb"}}},
	}
	if n.Target.Kind == "image" {
		bom.Metadata.Component.Type = cyclonedx.ComponentTypeContainer
	}
	refs := map[string]string{}
	for _, c := range list {
		refs[c.Package.Name] = strings.TrimSuffix("pkg:generic/"+c.Package.Name+"@"+c.Package.Version, "@")
	}
	var components []cyclonedx.Component
	all := cyclonedx.Dependency{Ref: n.Label, Dependencies: &[]string{}}
	dependencies := []cyclonedx.Dependency{}
	for _, c := range list {
		ref := refs[c.Package.Name]
		item := cyclonedx.Component{
			BOMRef: ref, PackageURL: ref, Type: cyclonedx.ComponentTypeLibrary, // which is what the format wants where it is not known
			Name: c.Package.Name, Version: c.Package.Version, Description: c.Package.Summary,
		}
		if c.Package.License != "" {
			item.Licenses = &cyclonedx.Licenses{{Expression: c.Package.License}}
		}
		var links []cyclonedx.ExternalReference
		if c.Package.Homepage != "" {
			links = append(links, cyclonedx.ExternalReference{Type: cyclonedx.ERTypeWebsite, URL: c.Package.Homepage})
		}
		for _, o := range c.Sources {
			links = append(links, sourceLink(o))
		}
		if links != nil {
			item.ExternalReferences = &links
		}
		var patches []cyclonedx.Patch
		for _, p := range c.Patches {
			if inside, err := filepath.Rel(root, p); err == nil && filepath.IsLocal(inside) {
				p = inside
			}
			patches = append(patches, cyclonedx.Patch{Type: cyclonedx.PatchTypeUnofficial, Diff: &cyclonedx.Diff{URL: p}})
		}
		if patches != nil {
			item.Pedigree = &cyclonedx.Pedigree{Patches: &patches}
		}
		components = append(components, item)
		*all.Dependencies = append(*all.Dependencies, ref)
		needs := []string{}
		for _, name := range c.Needs {
			if refs[name] != "" {
				needs = append(needs, refs[name])
			}
		}
		dependencies = append(dependencies, cyclonedx.Dependency{Ref: ref, Dependencies: &needs})
	}
	dependencies = append([]cyclonedx.Dependency{all}, dependencies...)
	bom.Components, bom.Dependencies = &components, &dependencies
	return bom
}

// sourceLink tells where a source comes from, and its digest.
func sourceLink(o engine.Origin) cyclonedx.ExternalReference {
	if o.Spec.Git != nil {
		return cyclonedx.ExternalReference{Type: cyclonedx.ERTypeVCS, URL: o.Spec.Git.URL, Comment: "commit " + o.Spec.Git.Commit}
	}
	link := cyclonedx.ExternalReference{Type: cyclonedx.ERTypeSourceDistribution}
	if o.Entry.Origin == source.DebianOrigin && (o.Entry.SHA256 != o.Spec.SHA256 || len(o.Spec.URLs) == 0) {
		link.URL = fmt.Sprintf("https://deb.debian.org/debian/%s", o.Entry.Path)
	} else {
		link.URL = o.Spec.URLs[0]
	}
	link.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: o.Entry.SHA256}}
	return link
}
