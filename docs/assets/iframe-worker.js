/* A page from disk may not start a worker, so the search worker runs in a hidden frame instead. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = `<script>postMessage = data => frameElement.answer(data)</script><script src="${url}"></script>`;
      frame.answer = data => this.dispatchEvent(new MessageEvent("message", {data}));
      this.inside = new Promise(done => { frame.onload = () => done(frame.contentWindow); });
      document.body.append(frame);
    }
    postMessage(data) {
      this.inside.then(inside => inside.dispatchEvent(new MessageEvent("message", {data})));
    }
  };
}
