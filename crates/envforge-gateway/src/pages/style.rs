//! The one style of all pages, inlined and named by its digest in the content security policy.

/// The style.
pub(super) const STYLE: &str = r#"
:root{--ground:#f5f6f8;--card:#fff;--ink:#171a21;--soft:#5b6372;--line:#e3e6eb;--brand:#3b5bdb;--brand-ink:#fff;--good:#2b8a3e;--busy:#d9790a;--bad:#c92a2a}
@media (prefers-color-scheme:dark){:root{--ground:#101216;--card:#191c22;--ink:#eceef2;--soft:#9aa3b2;--line:#2a2f38;--brand:#7b95ff;--brand-ink:#0d1120;--good:#69db7c;--busy:#ffb454;--bad:#ff8787}}
*{box-sizing:border-box}
html{height:100%}
body{margin:0;min-height:100%;display:flex;flex-direction:column;align-items:center;justify-content:center;gap:20px;padding:24px;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{width:100%;max-width:440px;padding:36px 36px 40px;background:var(--card);border:1px solid var(--line);border-radius:16px;box-shadow:0 1px 2px rgb(0 0 0/.04),0 12px 32px rgb(0 0 0/.06);text-align:center}
h1{margin:0 0 10px;font-size:22px;line-height:1.3;font-weight:650;letter-spacing:-.01em;text-wrap:balance;overflow-wrap:anywhere}
p{margin:0 0 22px;color:var(--soft);text-wrap:balance}
p:last-child{margin-bottom:0}
p strong{color:var(--ink);font-weight:600}
.fine{margin:18px 0 0;font-size:13px}
.fine a{color:inherit}
.name{white-space:nowrap}
@media (max-width:420px){.name{white-space:normal}}
code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.mark{display:inline-grid;place-items:center;width:72px;height:72px;margin-bottom:18px;border-radius:20px;color:var(--brand);background:color-mix(in srgb,currentColor 12%,transparent)}
.shut{color:var(--soft)}
.busy .tip{animation:pulse 1.4s ease-in-out infinite}
@keyframes pulse{50%{opacity:.15}}
button,.button{display:inline-block;min-width:180px;padding:12px 22px;border:0;border-radius:10px;background:var(--brand);color:var(--brand-ink);font:inherit;font-weight:600;text-decoration:none;cursor:pointer}
button:hover,.button:hover{filter:brightness(1.08)}
button:focus-visible,.button:focus-visible{outline:3px solid color-mix(in srgb,var(--brand) 45%,transparent);outline-offset:2px}
[hidden]{display:none}
ul{margin:0;padding:0;list-style:none;text-align:left;border:1px solid var(--line);border-radius:12px;overflow:hidden}
ul:empty{display:none}
li{display:flex;align-items:center;gap:12px;padding:10px 14px}
li+li{border-top:1px solid var(--line)}
.part{flex:1;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;font-weight:500}
.state{color:var(--soft);font-size:14px}
.dot{flex:none;width:10px;height:10px;border-radius:50%;box-shadow:inset 0 0 0 2px var(--soft);opacity:.6}
[data-state=waking] .dot{opacity:1;box-shadow:none;background:var(--busy);animation:pulse 1.4s ease-in-out infinite}
[data-state=ready] .dot{opacity:1;box-shadow:none;background:var(--good)}
[data-state=blocked] .dot{opacity:1;box-shadow:none;background:var(--bad)}
#again{margin-top:22px}
footer{color:var(--soft);font-size:13px}
@media (prefers-reduced-motion:reduce){*{animation:none!important}}
"#;
