"""How Sphinx builds these pages: Markdown by MyST, API pages from the docstrings, no network."""

from retail_assets import __version__

project = "retail-assets"
copyright = "the retail-assets authors, Apache 2.0"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autosummary_ignore_module_all = True
autodoc_member_order = "bysource"
add_module_names = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
numpydoc_show_class_members = False
default_role = "code"
highlight_language = "text"
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = "retail-assets"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_sidebars = {"**": ["pages.html"]}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_center": [],
    "show_toc_level": 2,
}
