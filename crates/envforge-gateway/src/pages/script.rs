//! The waiting page's script, inlined and named by its digest in the content security policy.
//!
//! It follows the readiness of the path the page stands at and loads the page again once the service answers or can't;
//! the gateway then decides afresh what that shows. When the runtime went back to sleep it offers a button instead of
//! waking it again: a forgotten tab must not keep a preview awake.

/// The script.
pub(super) const SCRIPT: &str = r#"
addEventListener("DOMContentLoaded",function(){
  var list=document.getElementById("parts"),text=document.getElementById("text"),again=document.getElementById("again");
  var source=new EventSource("/.envforge/readiness?path="+encodeURIComponent(location.pathname)),wasWaking=false;
  function row(part){
    var item=document.createElement("li");
    ["dot","part","state"].forEach(function(name){var span=document.createElement("span");span.className=name;item.append(span)});
    item.dataset.state=part.state;item.children[1].textContent=part.name;item.children[2].textContent=part.state;
    return item;
  }
  source.onmessage=function(event){
    var now=JSON.parse(event.data);
    if(now.parts.length)list.replaceChildren.apply(list,now.parts.map(row));
    if(now.state==="waking")wasWaking=true;
    if(now.state==="ready"||now.state==="blocked"){source.close();location.reload();}
    var slept=now.state==="asleep"&&wasWaking;
    again.hidden=!slept;
    if(slept)text.textContent="It went back to sleep before it was ready.";
  };
  source.onerror=function(){if(source.readyState===2){again.hidden=false;again.textContent="Try again";text.textContent="The connection was lost.";}};
});
"#;
