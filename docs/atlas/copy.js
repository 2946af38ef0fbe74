// Copy buttons of snippets.
'use strict';
for (const button of document.querySelectorAll('button.copy')) {
  button.addEventListener('click', async () => {
    const text = button.parentElement.querySelector('code').textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages opened from a folder may have no clipboard: select the text instead.
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector('code'));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (!document.execCommand('copy')) return;
    }
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
}
