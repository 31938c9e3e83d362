"""The server: photos come by HTTP, answers go as JSON; and the page that people use it by."""
