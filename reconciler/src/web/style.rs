//! The page's style sheet, inside the page, for light and dark. Whatever a colour says, a word and a sign say too.

pub(super) const STYLE: &str = "\
:root{--ink:#1c1e26;--soft:#5b6070;--paper:#f6f7f9;--card:#fff;--line:#d9dce3;--good:#12633a;--good-bg:#dff3e6;--note:#7a4b00;--note-bg:#fdefd0;\
--bad:#9b1c1c;--bad-bg:#fde2e1;--link:#1d4ed8}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eaf0;--soft:#a3a9b8;--paper:#14161c;--card:#1c1f27;--line:#343946;--good:#7fdca6;--good-bg:#12351f;\
--note:#f5c466;--note-bg:#3b2a08;--bad:#ff9d97;--bad-bg:#431716;--link:#93b4ff}}\
*{box-sizing:border-box}\
body{font:15px/1.5 system-ui,sans-serif;margin:0;color:var(--ink);background:var(--paper)}\
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:1rem;background:var(--card);padding:.5rem 1rem;z-index:1}\
header,main{max-width:72rem;margin:0 auto;padding:1rem 1.25rem}\
header{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;align-items:baseline}\
h1{font-size:1.35rem;margin:0}h1 a{color:inherit;text-decoration:none}\
h2{font-size:1.15rem;margin:0;display:flex;gap:.6rem;align-items:center;flex-wrap:wrap;overflow-wrap:anywhere}\
h3{font-size:.95rem;margin:1.4rem 0 .5rem;color:var(--soft);font-weight:600}\
p{margin:.4rem 0}a{color:var(--link)}a:focus-visible,summary:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:3px}\
.soft{color:var(--soft)}.push{margin-left:auto}\
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.1rem 1.25rem;margin:0 0 1.25rem}\
.state{display:inline-block;font-size:.8rem;font-weight:600;padding:.05rem .55rem;border-radius:99px;white-space:nowrap;max-width:100%;overflow:hidden;\
text-overflow:ellipsis;vertical-align:middle}\
.good{color:var(--good);background:var(--good-bg)}.note{color:var(--note);background:var(--note-bg)}.bad{color:var(--bad);background:var(--bad-bg)}\
.faint{color:var(--soft);background:var(--paper)}\
code,pre{font:.86em/1.5 ui-monospace,monospace;overflow-wrap:anywhere}\
pre{white-space:pre-wrap;background:var(--paper);border-left:4px solid var(--bad);padding:.6rem .9rem;border-radius:4px;max-height:24rem;overflow:auto}\
ul.tree,ul.tree ul{list-style:none;margin:0;padding:0}\
ul.tree ul{margin-left:.55rem;padding-left:1.05rem;border-left:2px solid var(--line)}\
ul.tree li{padding:.16rem 0;overflow-wrap:anywhere}\
ul.stacks{list-style:none;margin:0;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:.35rem .9rem}\
ul.stacks li{display:flex;gap:.5rem;align-items:baseline;justify-content:space-between;border-bottom:1px solid var(--line);padding:.15rem 0;\
min-width:0}ul.stacks li a{overflow-wrap:anywhere;min-width:0}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line);\
vertical-align:top;overflow-wrap:anywhere}thead th{font-size:.8rem;color:var(--soft);font-weight:600}tbody th{font-weight:400}\
ol.line{list-style:none;margin:0;padding:0 0 0 .4rem}\
ol.line li{border-left:2px solid var(--line);padding:.1rem 0 .7rem 1.1rem;position:relative;overflow-wrap:anywhere}\
ol.line li::before{content:'';position:absolute;left:-.42rem;top:.5rem;width:.7rem;height:.7rem;border-radius:50%;background:var(--dot,var(--soft));\
border:2px solid var(--card)}\
ol.line .is-good{--dot:var(--good)}ol.line .is-note{--dot:var(--note)}ol.line .is-bad{--dot:var(--bad)}\
svg{display:block;max-width:100%;height:auto;margin:.5rem 0}svg text{font:600 13px system-ui,sans-serif;fill:var(--ink)}svg .word{font-weight:400;font-size:12px}\
svg path{fill:none;stroke:var(--soft);stroke-width:1.5}svg marker path{fill:var(--soft);stroke:none}\
svg rect{stroke-width:1.5;rx:8px}svg .good rect{fill:var(--good-bg);stroke:var(--good)}svg .note rect{fill:var(--note-bg);stroke:var(--note)}\
svg .bad rect{fill:var(--bad-bg);stroke:var(--bad)}svg .faint rect{fill:var(--card);stroke:var(--line)}\
svg a:focus-visible rect{stroke-width:4}";
