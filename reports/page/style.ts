/** The style sheet of report.html. Colours are told apart without hue; both themes hold a contrast of 4.5 for text. */

const LIGHT_DARK: Readonly<Record<string, readonly [string, string]>> = {
  paper: ['#ffffff', '#0f1419'],
  raised: ['#f5f7f9', '#171e26'],
  ink: ['#14181f', '#e9edf2'],
  'ink-2': ['#4a5462', '#a9b4c1'],
  line: ['#e1e6eb', '#2a333e'],
  'line-strong': ['#808a97', '#7a8694'],
  shade: ['#14181f26', '#00000090'],
  accent: ['#0a5bb5', '#7ab8ff'],
  'pass-ink': ['#07603a', '#74dfab'],
  'pass-paper': ['#e6f5ed', '#11291f'],
  'fail-ink': ['#9a2409', '#ffa185'],
  'fail-paper': ['#fdeee8', '#331912'],
  'none-ink': ['#6f4a00', '#f3c566'],
  'none-paper': ['#fdf3da', '#2d2511'],
  passed: ['#0072b2', '#4aa6de'],
  failed: ['#d55e00', '#ff8f45'],
  collateral: ['#a94d88', '#e392c7'],
  unmeasured: ['#808a97', '#7a8694'],
  'rt-clove': ['#0072b2', '#56b4e9'],
  'rt-process': ['#008f68', '#38cf9f'],
  'rt-thread': ['#b06f00', '#f0b429'],
  'rt-sequential': ['#9a4f86', '#e392c7'],
  'rt-python-pool': ['#5b6b00', '#c3d34f'],
  box: ['#9cc5de', '#2d6f99'],
  'heat-none': ['#f0f2f4', '#1b222b'],
  'heat-0': ['#eff5f8', '#15222e'],
  'heat-1': ['#d9e8f1', '#1a3246'],
  'heat-2': ['#bed9e9', '#1e4460'],
  'heat-3': ['#9ec7df', '#23577a'],
  'heat-4': ['#79b1d3', '#2b6b95'],
  'heat-5': ['#5799c5', '#408cb8'],
  'heat-6': ['#2f74a7', '#5da4cb'],
  'heat-7': ['#1c5a8d', '#88c0dd'],
  'heat-8': ['#0d4072', '#bfe1f1'],
  'heat-ink-0': ['#0d1b28', '#f2f6fa'],
  'heat-ink-1': ['#0d1b28', '#f2f6fa'],
  'heat-ink-2': ['#0d1b28', '#f2f6fa'],
  'heat-ink-3': ['#0d1b28', '#f2f6fa'],
  'heat-ink-4': ['#0d1b28', '#f2f6fa'],
  'heat-ink-5': ['#0d1b28', '#071018'],
  'heat-ink-6': ['#ffffff', '#071018'],
  'heat-ink-7': ['#ffffff', '#071018'],
  'heat-ink-8': ['#ffffff', '#071018'],
};

const entries = Object.entries(LIGHT_DARK);
const LIGHT = entries.map(([name, [light]]) => `--${name}:${light};`).join('');
const COLOURS = entries.map(([name, [light, dark]]) => `--${name}:light-dark(${light},${dark});`).join('');

export const STYLE = `
:root{color-scheme:light;${LIGHT}
--gap:clamp(1rem,2.5vw,1.75rem);--radius:10px;
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
background:var(--paper);color:var(--ink);-webkit-text-size-adjust:100%;text-size-adjust:100%;scroll-padding-top:4rem}
@supports (color:light-dark(red,red)){:root{color-scheme:light dark;${COLOURS}}}
:root[data-theme=light]{color-scheme:light}
:root[data-theme=dark]{color-scheme:dark}
*{box-sizing:border-box}
body{margin:0;overflow-wrap:anywhere}
a{color:var(--accent);text-underline-offset:.18em;text-decoration-thickness:.06em}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px;border-radius:4px}
h1,h2,h3{line-height:1.2;text-wrap:balance;margin:0}
h2{font-size:1.4rem;letter-spacing:-.01em}
h3{font-size:1.05rem;margin-top:1.75rem}
p{margin:.6rem 0;max-width:75ch}
code,pre,kbd,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.86em}
code{overflow-wrap:anywhere}
.landing{scroll-margin-top:4rem}
.sr{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap;margin:0}
.skip{position:absolute;left:-999px;top:0;background:var(--paper);padding:.6rem 1rem;z-index:5}
.skip:focus{left:0}
.muted{color:var(--ink-2)}
.wrap{max-width:1240px;margin:0 auto;padding:0 var(--gap)}
header.top{padding:2.2rem 0 1.2rem}
header.top .kicker{margin:0 0 .3rem;color:var(--ink-2);font-size:.9rem;overflow-wrap:anywhere}
h1{font-size:clamp(1.6rem,4.2vw,2.4rem);letter-spacing:-.022em;overflow-wrap:anywhere}
.verdict{display:flex;gap:.4rem 1.3rem;align-items:baseline;flex-wrap:wrap;margin:1.2rem 0 0;padding:1rem 1.2rem;border-radius:var(--radius);border-left:6px solid currentColor}
.verdict strong{font-size:clamp(1.5rem,4vw,2.1rem);line-height:1.1;letter-spacing:-.01em}
.verdict span{color:var(--ink);font-size:1.05rem;overflow-wrap:anywhere}
.pass{color:var(--pass-ink);background:var(--pass-paper)}
.fail{color:var(--fail-ink);background:var(--fail-paper)}
.none{color:var(--none-ink);background:var(--none-paper)}
.banner{margin:.8rem 0 0;padding:.8rem 1.2rem;border-radius:var(--radius);border:2px solid currentColor;max-width:none;overflow-wrap:anywhere}
.banner strong{text-transform:uppercase;letter-spacing:.05em;margin-right:.5em}
.banner span{color:var(--ink)}
.verdict{max-width:none}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(175px,1fr));gap:.75rem;margin:1.1rem 0 0}
.figures>div{background:var(--raised);border-radius:var(--radius);padding:.85rem 1rem;min-width:0}
.figures dt{font-size:.82rem;color:var(--ink-2)}
.figures dd{margin:0;overflow-wrap:anywhere}
.figures .value{font-size:1.6rem;line-height:1.25;font-weight:650;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.figures .note{font-size:.84rem;color:var(--ink-2);line-height:1.4}
nav.contents{position:sticky;top:0;z-index:3;background:var(--paper);border-bottom:1px solid var(--line)}
nav.contents .wrap{display:flex;align-items:center;gap:.5rem}
nav.contents ul{display:flex;gap:.1rem;list-style:none;margin:0 0 0 -.44rem;padding:0;overflow-x:auto;scrollbar-width:none;flex:1;min-width:0;mask-image:linear-gradient(to right,#000 calc(100% - 1.5rem),transparent);padding-right:1.5rem}
nav.contents a{display:block;padding:.7rem .44rem;white-space:nowrap;font-size:.88rem;text-decoration:none;color:var(--ink-2);border-bottom:2px solid transparent}
nav.contents a:hover,nav.contents a[aria-current]{color:var(--ink);border-color:var(--accent)}
nav.contents a:focus-visible{outline-offset:-3px}
main>section{padding:2.1rem 0 .6rem}
main>section+section{border-top:1px solid var(--line);margin-top:1.6rem}
.scroll{overflow-x:auto;max-width:100%;background:linear-gradient(90deg,var(--paper) 30%,transparent) 0 0/2.5rem 100% no-repeat local,linear-gradient(270deg,var(--paper) 30%,transparent) 100% 0/2.5rem 100% no-repeat local,linear-gradient(90deg,var(--shade),transparent) 0 0/.7rem 100% no-repeat scroll,linear-gradient(270deg,var(--shade),transparent) 100% 0/.7rem 100% no-repeat scroll}
.scroll tbody th:first-child{position:sticky;left:0;background:var(--paper)}
table{overflow-wrap:normal;border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums;margin:.7rem 0}
caption{text-align:left;color:var(--ink-2);font-size:.86rem;padding:0 0 .45rem;caption-side:top}
th,td{padding:.42rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{padding-left:0}
thead th{font-weight:600;color:var(--ink-2);font-size:.82rem;vertical-align:bottom;border-bottom-color:var(--line-strong);white-space:nowrap}
tbody th{font-weight:500}
.num{text-align:right;white-space:nowrap}
.delta{display:block;font-size:.8rem;color:var(--ink-2);white-space:nowrap}
.lead{background:var(--raised)}
tbody tr:hover{background:var(--raised)}
td.text{overflow-wrap:anywhere;min-width:12ch}
table.facts th{white-space:nowrap;color:var(--ink-2);width:1%;padding-right:1.5rem}
table.facts td{overflow-wrap:anywhere}
.dense{font-size:.85rem}.dense th,.dense td{padding:.34rem .5rem}.dense th:first-child{padding-left:0}.dense thead th{white-space:normal}.dense:not(.loose) tbody th,.dense:not(.loose) td{white-space:nowrap}
table.narrow{width:auto;min-width:min(100%,460px)}
.beside{display:flex;flex-wrap:wrap;gap:0 3rem;align-items:start}.beside>*{min-width:0;max-width:100%;flex:0 1 auto}.beside>:last-child{flex:1 1 320px}.beside h3{margin-top:1.2rem}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:0 2.2rem;align-items:start}
.columns>*{min-width:0}
.badge{display:inline-block;padding:.05rem .5rem;border-radius:99px;font-size:.8rem;font-weight:600;white-space:nowrap}
.check{margin:1.1rem 0 1.6rem}.check h3{margin-top:1.2rem}
.seen{border-left:3px solid var(--line-strong);padding:.05rem 0 .05rem .9rem;margin:.6rem 0}.seen p{margin:.3rem 0}
.evidence{font-size:.88rem;margin:.3rem 0}
.badge.plain{background:var(--raised);color:var(--ink-2)}
figure.chart{margin:1.2rem 0 .4rem;min-width:0;position:relative}
figcaption{font-weight:600;font-size:.98rem;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;list-style:none;margin:.25rem 0 .3rem;padding:0;font-size:.84rem;color:var(--ink-2)}
.legend svg{vertical-align:-2px;margin-right:.4rem}
.scale{display:flex;align-items:center;gap:.5rem;font-size:.84rem;color:var(--ink-2);margin:.4rem 0}
.scale svg{border-radius:3px}
.plot{padding:.3rem 0}
.plot svg{display:block}
.tools{display:flex;flex-wrap:wrap;gap:.4rem;align-items:center;margin:.5rem 0;font-size:.86rem}
.tools[hidden]{display:none}
button,select,input{font:inherit;font-size:.86rem;color:var(--ink);background:var(--raised);border:1px solid var(--line-strong);border-radius:6px;padding:.32rem .65rem;min-height:2rem}
button{cursor:pointer}
button:hover{border-color:var(--accent)}
button:disabled{opacity:.5;cursor:default}
th button{border:0;background:none;padding:0;min-height:0;font-weight:600;font-size:inherit;color:inherit;text-align:inherit}
th[aria-sort=ascending] button::after{content:" ↑"}
th[aria-sort=descending] button::after{content:" ↓"}
label{color:var(--ink-2);max-width:100%}
select{max-width:min(100%,28rem)}
tr.differs td,tr.differs th{background:var(--none-paper)}.first-divergence{font-weight:600}
details.filter{border:1px solid var(--line-strong);border-radius:6px;padding:0;background:var(--raised);position:relative}
details.filter>summary{padding:.32rem .65rem;min-height:2rem;font-weight:400}
.boxes{position:absolute;z-index:4;background:var(--paper);border:1px solid var(--line-strong);border-radius:6px;padding:.5rem .8rem;max-height:18rem;overflow:auto;min-width:12rem;box-shadow:0 4px 14px var(--shade)}
.boxes label{display:block;white-space:nowrap;padding:.15rem 0;color:var(--ink)}
input[type=checkbox]{min-height:0}
.chosen{min-height:1.6em;margin:.3rem 0;max-width:none;overflow-wrap:anywhere}
.tip{position:fixed;z-index:9;pointer-events:none;white-space:pre-line;background:var(--ink);color:var(--paper);padding:.4rem .65rem;border-radius:6px;font-size:.82rem;line-height:1.4;max-width:min(320px,80vw);overflow-wrap:anywhere}
details{border-bottom:1px solid var(--line);padding:.15rem 0}
details>summary{cursor:pointer;padding:.4rem 0;overflow-wrap:anywhere}
details[open]>summary{font-weight:600}
details.alternative{border:0;font-size:.86rem;color:var(--ink-2)}
details:target>summary,details.found>summary{background:var(--none-paper);color:var(--none-ink)}
.inside{padding:.1rem 0 .9rem}
pre{background:var(--raised);border-radius:var(--radius);padding:.8rem 1rem;margin:.6rem 0;overflow-x:auto;max-height:22rem;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.45}
ul.plain{padding-left:1.1rem;margin:.6rem 0}
ul.plain li{margin:.3rem 0;max-width:80ch;overflow-wrap:anywhere}
.legend+.tools{margin-top:0}
footer{padding:2.2rem 0 3rem;color:var(--ink-2);font-size:.86rem;overflow-wrap:anywhere}
@media (max-width:600px){h2{font-size:1.25rem}.figures{grid-template-columns:repeat(2,minmax(0,1fr));gap:.5rem}.figures>div{padding:.65rem .75rem}.figures .value{font-size:1.3rem}table{font-size:.84rem}th,td{padding:.38rem .5rem}th:first-child,td:first-child{padding-left:0}table.facts th{white-space:normal;width:34%}}
@media (prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
@media print{:root{color-scheme:light;font-size:10.5px}nav.contents,.tools,.skip,.alternative{display:none}header.top{padding-top:0}main>section{break-inside:auto}figure.chart,tr,.figures>div{break-inside:avoid}.scroll{overflow:visible}.plot svg{max-width:100%;height:auto}pre{max-height:none}a{color:inherit;text-decoration:none}.scroll{background:none}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
`;

/** Values for tests that compute contrast: name → [light, dark]. */
export const PALETTE = LIGHT_DARK;
