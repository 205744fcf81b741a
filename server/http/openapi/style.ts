/** How does the page look? Plain text sizes, one column beside its contents; dark where the reader's is. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1d2129; --soft: #586070; --line: #dde1e7; --back: #fff; --well: #f5f6f8; --link: #0b57a4; --get: #0b6b4f; --post: #8a4b00; --delete: #a4262c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ec; --soft: #a2abb8; --line: #363c46; --back: #15181d; --well: #1e2229; --link: #82b8f2; --get: #6dd0ac; --post: #e6ae6a; --delete: #f0949a; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; display: grid; grid-template-columns: 19rem minmax(0, 1fr); color: var(--ink); background: var(--back); font: 16px/1.55 system-ui, sans-serif; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, [tabindex="0"]:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: 1rem; padding: .5rem 1rem; background: var(--back); border: 1px solid var(--line); z-index: 1; }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.5rem 1rem 2rem 1.5rem; border-right: 1px solid var(--line); background: var(--well); font-size: .875rem; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav a { color: inherit; text-decoration: none; display: block; padding: .15rem 0; }
nav a:hover { text-decoration: underline; }
nav > ul > li { margin-top: .9rem; }
nav > ul > li > a { font-weight: 650; }
nav li li a { display: grid; grid-template-columns: 3.4rem 1fr; }
.brand { margin: 0; font-size: 1.15rem; font-weight: 700; }
.brand small { color: var(--soft); font-weight: 400; }
main { padding: 2rem 3rem 6rem; max-width: 62rem; outline: none; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.5rem; margin: 3.5rem 0 .5rem; padding-bottom: .4rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1.15rem; margin: 0 0 .4rem; }
h4 { font-size: .8rem; margin: 1.25rem 0 .35rem; color: var(--soft); text-transform: uppercase; letter-spacing: .06em; }
p { margin: .5rem 0; }
.lead { font-size: 1.15rem; color: var(--soft); }
article { margin: 1.75rem 0; padding: 1.25rem 1.5rem; border: 1px solid var(--line); border-radius: .5rem; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .85em; overflow-wrap: anywhere; }
p code, li code, td code { background: var(--well); padding: .1em .3em; border-radius: .25rem; }
pre { margin: .5rem 0; padding: .75rem 1rem; background: var(--well); border: 1px solid var(--line); border-radius: .375rem; max-height: 26rem; overflow: auto; white-space: pre-wrap; font-size: .8125rem; }
pre code { font-size: inherit; }
.route { font-size: 1.05rem; }
.route .verb { margin-right: .35rem; }
.route code { background: none; padding: 0; }
.verb { display: inline-block; font: 700 .72rem/1.9 ui-monospace, Menlo, Consolas, monospace; letter-spacing: .03em; }
.GET { color: var(--get); }
.POST { color: var(--post); }
.DELETE { color: var(--delete); }
.roles, .bound, small, .media { color: var(--soft); font-size: .9rem; }
.answer { border-left: 3px solid var(--get); padding-left: .9rem; margin: .6rem 0; }
.status { display: inline-block; min-width: 2.4rem; font-variant-numeric: tabular-nums; }
.refusals { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; margin: .25rem 0; font-size: .9rem; }
.members { margin: .25rem 0 .5rem; padding-left: 1.25rem; font-size: .9rem; color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem .45rem 0; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-size: .8rem; }
tbody th { white-space: nowrap; font-weight: 400; }
tbody th small { display: block; }
td:last-child { max-width: 16rem; }
summary { cursor: pointer; color: var(--link); padding: .15rem 0; }
details { margin: .25rem 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 0 1rem; }
.grid article { margin: .5rem 0; }
:target { scroll-margin-top: 1rem; background: color-mix(in srgb, var(--link) 16%, transparent); }
@media (max-width: 52rem) {
  body { display: block; }
  nav { position: static; height: auto; max-height: 45vh; border-right: 0; border-bottom: 1px solid var(--line); }
  main { padding: 1.25rem 1rem 4rem; }
  article { padding: 1rem; }
  thead { display: none; }
  tr { display: block; padding: .4rem 0; border-top: 1px solid var(--line); }
  th, td { display: block; padding: .1rem 0; border: 0; }
  tbody th small { display: inline; margin-left: .5rem; }
  td:last-child { max-width: none; }
  .grid { grid-template-columns: minmax(0, 1fr); }
}
@media print {
  :root { --ink: #000; --soft: #333; --line: #999; --back: #fff; --well: #fff; --link: #000; --get: #000; --post: #000; --delete: #000; }
  body { display: block; font-size: 10pt; }
  nav, .skip { display: none; }
  main { padding: 0; max-width: none; }
  article { break-inside: avoid-page; border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: .5rem 0; }
  pre { max-height: none; overflow: visible; }
  h2, h3, h4 { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
`;
